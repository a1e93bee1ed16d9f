//! OCSP responders and CRL servers that do as they are told, all behind one address: as a proxy, which gets whole URLs,
//! or as the server itself.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What a server does when it is asked.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Status 200 and these bytes.
    Bytes(Vec<u8>),
    /// This status and nothing else.
    Status(u16),
    /// A redirect to this address.
    Redirect(String),
    /// Nothing, as long as the asker waits.
    Hang,
    /// Bytes without end.
    Endless,
}

/// Servers that listen on a port of this machine until the test's process ends.
pub struct Responders {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
    answers: Arc<Mutex<Answers>>,
}

/// What is answered to whatever begins with an address.
type Answers = Vec<(String, Answer)>;

impl Responders {
    /// Answers to whatever begins with one of these addresses; anything else is not found.
    pub fn start(answers: impl IntoIterator<Item = (String, Answer)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let answers = Arc::new(Mutex::new(answers.into_iter().collect::<Answers>()));
        let (log, current) = (Arc::clone(&asked), Arc::clone(&answers));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (answers, log) = (current.lock().unwrap().clone(), Arc::clone(&log));
                thread::spawn(move || serve(stream.unwrap(), &answers, &log));
            }
        });
        Self { address, asked, answers }
    }

    /// Answers like this from now on.
    pub fn answers(&self, answers: impl IntoIterator<Item = (String, Answer)>) {
        *self.answers.lock().unwrap() = answers.into_iter().collect();
    }

    /// `http://HOST:PORT`, as a proxy's address, and for what is asked directly.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What was asked so far: method and URL.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// One request. Who asked may be gone before the answer is: that is no failure.
fn serve(mut stream: TcpStream, answers: &[(String, Answer)], log: &Mutex<Vec<String>>) {
    let Some((method, url)) = read_request(&stream) else { return };
    log.lock().unwrap().push(format!("{method} {url}"));
    let answer = answers.iter().find(|(prefix, _)| url.starts_with(prefix.as_str()));
    let head = |status: u16, rest: &str| format!("HTTP/1.1 {status} x\r\nconnection: close\r\n{rest}\r\n");
    match answer.map(|(_, answer)| answer) {
        None => drop(stream.write_all(head(404, "content-length: 0\r\n").as_bytes())),
        Some(Answer::Status(status)) => {
            drop(stream.write_all(head(*status, "content-length: 0\r\n").as_bytes()));
        }
        Some(Answer::Redirect(to)) => {
            drop(stream.write_all(head(302, &format!("location: {to}\r\ncontent-length: 0\r\n")).as_bytes()));
        }
        Some(Answer::Bytes(bytes)) => {
            let _ = stream.write_all(head(200, &format!("content-length: {}\r\n", bytes.len())).as_bytes());
            let _ = stream.write_all(bytes);
        }
        // Ends when the other side has gone.
        Some(Answer::Hang) => drop(stream.read(&mut [0])),
        Some(Answer::Endless) => {
            let _ = stream.write_all(head(200, "").as_bytes());
            while stream.write_all(&[0; 8192]).is_ok() {}
        }
    }
}

/// Method and URL of a request, with its body read away.
fn read_request(stream: &TcpStream) -> Option<(String, String)> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let (mut host, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "host" => value.clone_into(&mut host),
            "content-length" => length = value.parse().unwrap(),
            _ => {}
        }
    }
    reader.read_exact(&mut vec![0; length]).ok()?;
    let mut words = first.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?);
    let url = if target.starts_with('/') { format!("http://{host}{target}") } else { target.to_owned() };
    Some((method, url))
}
