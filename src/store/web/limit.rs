//! How long an answer may be that is held in memory as a whole: all but the data of objects.
//!
//! The SDK collects documents and errors to their end, wherever that is.

use std::error::Error;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http_body_util::{LengthLimitError, Limited};

/// The longest page of a listing: 1,000 entries with keys of 1,024 bytes, each of which is three in a URL, take half
/// of it.
const MAX_DOCUMENT: usize = 8 << 20;

/// The longest error: code, message and some names.
const MAX_ERROR: usize = 64 << 10;

/// A client whose answers are cut off where they are too long.
#[derive(Debug)]
pub(in crate::store) struct Limit<C>(pub(in crate::store) C);

#[derive(Debug)]
struct Connector(SharedHttpConnector);

impl<C: HttpClient> HttpClient for Limit<C> {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Connector(self.0.http_connector(settings, components)))
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let is_data = asks_for_data(&request);
        let sent = self.0.call(request);
        HttpConnectorFuture::new(async move { sent.await.map(|answer| limited(answer, is_data)) })
    }
}

/// Whether the answer is the data of an object, which is not collected. The SDK names each operation.
fn asks_for_data(request: &HttpRequest) -> bool {
    let query = request.uri().split_once('?').map_or("", |(_, query)| query);
    query.split('&').any(|parameter| parameter == "x-id=GetObject")
}

fn limited(mut answer: HttpResponse, is_data: bool) -> HttpResponse {
    let limit = match answer.status().is_success() {
        true if is_data => return answer,
        true => MAX_DOCUMENT,
        false => MAX_ERROR,
    };
    let body = answer.take_body();
    *answer.body_mut() = SdkBody::from_body_1_x(Limited::new(body, limit));
    answer
}

/// Whether this is what an answer ends with that was cut off.
pub(in crate::store) fn is_too_long(error: &(dyn Error + 'static)) -> bool {
    error.is::<LengthLimitError>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_of_objects_are_told_by_the_operation() {
        let is_data = |uri: &str| {
            let mut request = HttpRequest::new(SdkBody::empty());
            request.set_uri(uri.to_owned()).unwrap();
            asks_for_data(&request)
        };
        assert!(is_data("http://h/b/k?x-id=GetObject") && is_data("http://h/b/k?versionId=v&x-id=GetObject"));
        assert!(!is_data("http://h/b?list-type=2&prefix=x-id%3DGetObject") && !is_data("http://h/b/x-id=GetObject"));
    }
}
