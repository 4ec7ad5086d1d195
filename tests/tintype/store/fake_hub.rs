//! A small server in the shape of the Hugging Face Hub, on loopback: what `tintype::store` asks for, and the ways in
//! which that goes wrong. Answers as the real one does: large files are redirected to another path, trees come in
//! pages.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The only repository there is.
pub const MODEL: &str = "ada/pocket-sd";

/// Entries of a tree in one answer.
const PAGE: usize = 7;

/// What the server has and how it misbehaves; to be changed while it runs.
#[derive(Default)]
pub struct State {
    pub commit: String,
    /// Contents by path; `.safetensors`, `.bin` and `.ckpt` are large files.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Answer this to everything: a status and an `X-Error-Code`.
    pub refuse: Option<(u16, &'static str)>,
    /// Answer this status to a GET of a file's content.
    pub refuse_content: Option<u16>,
    /// Demand this token.
    pub token: Option<&'static str>,
    /// Close the connection after so many bytes of a large file's content, so many times.
    pub cut: Option<(usize, usize)>,
    /// Send large files but for their last byte, then nothing more.
    pub stall: bool,
    /// Pause after every 16 kB.
    pub pause: Duration,
    /// Ignore `Range`.
    pub no_ranges: bool,
    /// Flip a byte of large files.
    pub corrupt: bool,
    /// One line for each request: method, path, and the range if there is one.
    pub log: Vec<String>,
}

pub struct FakeHub {
    pub endpoint: String,
    state: Arc<Mutex<State>>,
}

impl FakeHub {
    pub fn start(files: &[(&str, Vec<u8>)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let files = files.iter().map(|(path, content)| ((*path).to_owned(), content.clone())).collect();
        let state = Arc::new(Mutex::new(State { commit: "c".repeat(40), files, ..State::default() }));
        let (ours, base) = (Arc::clone(&state), endpoint.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (state, base) = (Arc::clone(&ours), base.clone());
                // A client that hangs up is part of the game.
                std::thread::spawn(move || serve(stream, &state, &base).ok());
            }
        });
        Self { endpoint, state }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the log.
    pub fn log(&self) -> Vec<String> {
        std::mem::take(&mut self.state().log)
    }

    /// The paths of large files whose content was asked for, from the log.
    pub fn contents_sent(&self) -> Vec<String> {
        self.log().into_iter().filter(|line| line.starts_with("GET /cdn/")).collect()
    }
}

pub fn sha256(content: &[u8]) -> String {
    hex(&Sha256::digest(content))
}

pub fn git_oid(content: &[u8]) -> String {
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {}\0", content.len()));
    hasher.update(content);
    hex(&hasher.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(b"0123456789abcdef"[digit as usize]))
        .collect()
}

fn is_large(path: &str) -> bool {
    [".safetensors", ".bin", ".ckpt"].iter().any(|end| path.ends_with(end))
}

struct Request {
    method: String,
    path: String,
    query: String,
    headers: BTreeMap<String, String>,
}

fn read_request(stream: &TcpStream) -> std::io::Result<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let mut words = first.split(' ').map(str::to_owned);
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Ok(Request { method, path: path.to_owned(), query: query.to_owned(), headers })
}

fn serve(stream: TcpStream, state: &Mutex<State>, base: &str) -> std::io::Result<()> {
    let request = read_request(&stream)?;
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let range = request.headers.get("range").map_or_else(String::new, |range| format!(" {range}"));
    state.log.push(format!("{} {}{range}", request.method, request.path));

    let is_content = request.path.starts_with("/cdn/");
    let authorized = state.token.is_none_or(|token| {
        request.headers.get("authorization").is_some_and(|value| *value == format!("Bearer {token}"))
    });
    if !authorized && !is_content {
        return answer(stream, 401, &["X-Error-Code: GatedRepo"], b"{\"error\": \"gated\"}");
    }
    if let Some((status, code)) = state.refuse {
        let headers = [format!("X-Error-Code: {code}"), "Retry-After: 0".into()];
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        return answer(stream, status, &headers, b"{\"error\": \"refused\"}");
    }
    if let Some(sha) = request.path.strip_prefix("/cdn/") {
        return serve_large(stream, state, &request, sha);
    }
    if let Some(rest) = request.path.strip_prefix(&format!("/api/models/{MODEL}")) {
        return serve_api(stream, &state, &request, rest, base);
    }
    let resolve = format!("/{MODEL}/resolve/{}/", state.commit);
    let Some((path, content)) =
        request.path.strip_prefix(&resolve).and_then(|path| state.files.get_key_value(path))
    else {
        return answer(stream, 404, &["X-Error-Code: RepoNotFound"], b"");
    };
    let commit = format!("X-Repo-Commit: {}", state.commit);
    if is_large(path) {
        let sha = sha256(content);
        // Another host, as on the real Hub: no token travels there.
        let location = format!("Location: {}/cdn/{sha}", base.replace("127.0.0.1", "localhost"));
        let linked = format!("X-Linked-Etag: \"{sha}\"\r\nX-Linked-Size: {}", content.len());
        return answer(stream, 302, &[&commit, &location, &linked], b"");
    }
    let etag = format!("ETag: \"{}\"", git_oid(content));
    match state.refuse_content {
        Some(status) if request.method == "GET" => answer(stream, status, &[], b"no content today"),
        _ if request.method == "HEAD" => {
            let length = format!("Content-Length: {}", content.len());
            head(stream, 200, &[&commit, &etag, &length]).map(drop)
        }
        _ => answer(stream, 200, &[&commit, &etag], content),
    }
}

fn serve_api(
    stream: TcpStream,
    state: &State,
    request: &Request,
    rest: &str,
    base: &str,
) -> std::io::Result<()> {
    let Some(revision) = rest.strip_prefix("/tree/") else {
        let revision = rest.strip_prefix("/revision/").unwrap_or("main");
        if !["main", "refs%2Fpr%2F1", &state.commit].contains(&revision) {
            return answer(stream, 404, &["X-Error-Code: RevisionNotFound"], b"");
        }
        let info = serde_json::json!({ "_id": "1", "id": MODEL, "sha": state.commit });
        return answer(stream, 200, &[], info.to_string().as_bytes());
    };
    assert_eq!(revision, state.commit, "a tree is asked for by commit, which cannot change meanwhile");
    let cursor: usize =
        request.query.split('&').find_map(|pair| pair.strip_prefix("cursor=")?.parse().ok()).unwrap_or(0);
    let entries: Vec<_> =
        state.files.iter().skip(cursor).take(PAGE).map(|(path, content)| tree_entry(path, content)).collect();
    let next = format!(
        "Link: <{base}/api/models/{MODEL}/tree/{revision}?recursive=true&cursor={}>; rel=\"next\"",
        cursor + PAGE
    );
    let headers: &[&str] = if cursor + PAGE < state.files.len() { &[&next] } else { &[] };
    answer(stream, 200, headers, serde_json::Value::from(entries).to_string().as_bytes())
}

fn tree_entry(path: &str, content: &[u8]) -> serde_json::Value {
    let size = content.len();
    if !is_large(path) {
        return serde_json::json!({"type": "file", "path": path, "size": size, "oid": git_oid(content)});
    }
    let sha = sha256(content);
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{sha}\nsize {size}\n");
    serde_json::json!({
        "type": "file", "path": path, "size": size, "oid": git_oid(pointer.as_bytes()),
        "lfs": {"oid": sha, "size": size, "pointerSize": pointer.len()},
    })
}

fn serve_large(
    stream: TcpStream,
    mut state: MutexGuard<'_, State>,
    request: &Request,
    sha: &str,
) -> std::io::Result<()> {
    let Some(mut content) = state.files.values().find(|content| sha256(content) == sha).cloned() else {
        return answer(stream, 404, &[], b"");
    };
    if request.method == "HEAD" {
        return head(stream, 200, &[&format!("Content-Length: {}", content.len())]).map(drop);
    }
    if let Some(status) = state.refuse_content {
        return answer(stream, status, &[], b"no content today");
    }
    if state.corrupt {
        content[0] ^= 1;
    }
    let from: usize = request
        .headers
        .get("range")
        .filter(|_| !state.no_ranges)
        .and_then(|range| range.strip_prefix("bytes=")?.split_once('-')?.0.parse().ok())
        .unwrap_or(0);
    let status = if from > 0 { 206 } else { 200 };
    let rest = &content[from..];
    let (pause, stall) = (state.pause, state.stall);
    let sent = match &mut state.cut {
        Some((bytes, times)) if *times > 0 => {
            *times -= 1;
            &rest[..rest.len().min(*bytes)]
        }
        _ if stall => &rest[..rest.len() - 1],
        _ => rest,
    };
    drop(state);
    let mut stream = head(stream, status, &[&format!("Content-Length: {}", rest.len())])?;
    for chunk in sent.chunks(16 << 10) {
        stream.write_all(chunk)?;
        stream.flush()?;
        std::thread::sleep(pause);
    }
    if stall {
        std::thread::sleep(Duration::from_secs(20));
    }
    Ok(())
}

fn answer(stream: TcpStream, status: u16, headers: &[&str], body: &[u8]) -> std::io::Result<()> {
    let length = format!("Content-Length: {}", body.len());
    let mut stream = head(stream, status, &[headers, &[&length]].concat())?;
    stream.write_all(body)
}

fn head(mut stream: TcpStream, status: u16, headers: &[&str]) -> std::io::Result<TcpStream> {
    let mut text = format!("HTTP/1.1 {status} Whatever\r\nConnection: close\r\n");
    for header in headers {
        text += header;
        text += "\r\n";
    }
    stream.write_all((text + "\r\n").as_bytes())?;
    Ok(stream)
}
