//! A minimal HTTP client on one connection: it shows what is on the wire, which a real client would hide.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use fitsfs_lab::Lab;

pub struct Client {
    stream: BufReader<TcpStream>,
    host: String,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The connection ended before Content-Length.
    pub cut: bool,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The contents of all elements of this name.
    pub fn elements(&self, name: &str) -> Vec<String> {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let text = self.text();
        text.split(&open).skip(1).filter_map(|rest| Some(rest.split_once(&close)?.0.to_owned())).collect()
    }
}

impl Client {
    pub fn new(lab: &Lab) -> Client {
        Client::of_host(lab, "localhost")
    }

    /// Asks by this name of the server.
    pub fn of_host(lab: &Lab, host: &str) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", lab.port())).expect("the lab listens");
        Client { stream: BufReader::new(stream), host: host.into() }
    }

    pub fn get(&mut self, target: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask("GET", target, headers, b"").expect("an answer")
    }

    pub fn head(&mut self, target: &str) -> Answer {
        self.ask("HEAD", target, &[], b"").expect("an answer")
    }

    pub fn ask(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Answer> {
        let mut request =
            format!("{method} {target} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n", self.host, body.len());
        headers.iter().for_each(|(name, value)| request += &format!("{name}: {value}\r\n"));
        request += "\r\n";
        self.stream.get_mut().write_all(&[request.as_bytes(), body].concat())?;
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        let mut answer = Answer { status, headers: Vec::new(), body: Vec::new(), cut: false };
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            answer.headers.push((name.into(), value.trim().into()));
        }
        let len = answer.header("content-length").and_then(|len| len.parse().ok()).unwrap_or(0);
        if method != "HEAD" && status != 304 {
            self.stream.by_ref().take(len).read_to_end(&mut answer.body)?;
            answer.cut = (answer.body.len() as u64) < len;
        }
        Ok(answer)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
}
