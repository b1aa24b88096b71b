//! How a store is reached, where boto3 and the AWS CLI reach it: certificates of one's own, proxies, where the bucket
//! is named.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use fitsfs_lab::{Fault, Kind, Lab};

use crate::support::{BUCKET, NO_CACHE, PROGRAM, Rig, text};

const CONTENT: &str = "bytes";

fn rig(lab: fitsfs_lab::Builder) -> Rig {
    Rig::of_lab(lab, |lab| drop(lab.put(BUCKET, "a.fits", CONTENT)))
}

/// Mounts with these variables, reads, and unmounts.
fn reads(rig: &Rig, endpoint: &str, options: &[&str], variables: &[(&str, &str)]) {
    let output = mount(rig, endpoint, options, variables);
    assert!(output.status.success(), "{options:?} {variables:?}: {}", text(&output));
    assert_eq!(std::fs::read_to_string(rig.path("a.fits")).expect("it can be read"), CONTENT);
    let unmounted = Command::new(PROGRAM).args(["unmount", rig.root_str()]).status().expect("run fitsfs");
    assert!(unmounted.success());
}

fn mount(rig: &Rig, endpoint: &str, options: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = clean(variables);
    command.args(["mount", &format!("s3://{BUCKET}"), rig.root_str(), "--no-sign-request", "--endpoint-url", endpoint]);
    command.args(NO_CACHE).args(options).output().expect("run fitsfs")
}

/// The program with these variables, and no others that say how to connect.
fn clean(variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(PROGRAM);
    for name in ["AWS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"] {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied());
    command
}

#[test]
fn an_institutes_authority_is_trusted_where_boto3_trusts_it() {
    let rig = rig(Lab::builder().tls());
    let bundle = rig.outside().join("ca.pem");
    let config = rig.outside().join("config");
    let (bundle_str, config_str) = (bundle.to_str().expect("UTF-8"), config.to_str().expect("UTF-8"));
    std::fs::write(&bundle, format!("Institute\n{}", fitsfs_lab::CA)).expect("write the bundle");
    std::fs::write(&config, format!("[default]\nca_bundle = {bundle_str}\n")).expect("write the profile");
    for variable in [("AWS_CA_BUNDLE", bundle_str), ("AWS_CONFIG_FILE", config_str), ("SSL_CERT_FILE", bundle_str)] {
        reads(&rig, &rig.lab.endpoint(), &[], &[variable]);
    }
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_told_as_such_at_once() {
    let rig = rig(Lab::builder().tls());
    let started = Instant::now();
    let output = mount(&rig, &rig.lab.endpoint(), &[], &[]);
    assert!(!output.status.success());
    let message = text(&output);
    for word in ["the certificate of localhost cannot be verified", "AWS_CA_BUNDLE"] {
        assert!(message.contains(word), "{message}");
    }
    assert_eq!(rig.lab.connections(), 1, "it is not asked again");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let check = clean(&[]).args(["check", &format!("s3://{BUCKET}"), "--endpoint-url", &rig.lab.endpoint()]).output();
    let report = text(&check.expect("run fitsfs"));
    assert!(report.contains("certificate") && !report.contains("proxy"), "{report}");
}

#[test]
fn no_proxy_means_addresses_and_ports_too() {
    let rig = rig(Lab::builder());
    // Nothing listens on port 1: what goes by the proxy fails.
    let proxy = ("HTTP_PROXY", "http://127.0.0.1:1");
    let with_port = format!("127.0.0.1:{}", rig.lab.port());
    for entry in ["*", "127.0.0.1", with_port.as_str(), "localhost, 127.0.0.0/8"] {
        reads(&rig, &rig.lab.endpoint(), &[], &[proxy, ("NO_PROXY", entry)]);
    }
    let other = mount(&rig, &rig.lab.endpoint(), &[], &[proxy, ("NO_PROXY", "127.0.0.1:1")]);
    assert!(!other.status.success(), "another port than that of the entry goes by the proxy");
}

/// The lab stands in for a proxy: so names need no DNS.
#[test]
fn a_custom_endpoint_needs_no_wildcard_in_its_dns() {
    let rig = rig(Lab::builder());
    let proxy = rig.lab.endpoint();
    let proxied = [("HTTP_PROXY", proxy.as_str())];
    reads(&rig, "http://minio.obs.example", &[], &proxied);
    reads(&rig, "http://minio.obs.example", &["--path-style"], &proxied);
    // `bucket.localhost` is a virtual host of the lab.
    reads(&rig, "http://localhost", &["--virtual-host-style"], &proxied);
    let config = rig.outside().join("config");
    std::fs::write(&config, "[default]\ns3 =\n  addressing_style = virtual\n").expect("write the profile");
    let profile = ("AWS_CONFIG_FILE", config.to_str().expect("UTF-8"));
    reads(&rig, "http://localhost", &[], &[proxied[0], profile]);
}

#[test]
fn a_server_that_takes_no_bucket_in_the_path_gets_it_in_the_host() {
    let rig = rig(Lab::builder());
    let proxy = rig.lab.endpoint();
    let refusal = Kind::Status(403, "SecondLevelDomainForbidden".into());
    rig.lab.fault(Fault::new(refusal.clone()).times(1));
    reads(&rig, "http://localhost", &[], &[("HTTP_PROXY", &proxy)]);
    rig.lab.fault(Fault::new(refusal).times(1));
    let asked = mount(&rig, "http://localhost", &["--path-style"], &[("HTTP_PROXY", &proxy)]);
    assert!(text(&asked).contains("refuses to be listed"), "what the user says holds: {}", text(&asked));
}

#[test]
fn a_host_that_is_not_there_is_named_with_the_way_out() {
    let endpoint = ["--endpoint-url", "http://minio.invalid", "--virtual-host-style", "--no-sign-request"];
    let check = clean(&[]).args(["check", &format!("s3://{BUCKET}")]).args(endpoint).output().expect("run fitsfs");
    let report = text(&check);
    assert!(report.contains(&format!("{BUCKET}.minio.invalid")) && report.contains("--path-style"), "{report}");
}
