//! A receiver of messages that does with each what a test wants, and remembers what it took.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a receiver answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// This status.
    Status(u16),
    /// This status with a header.
    With(u16, &'static str, String),
    /// 200, but only after a while.
    Late(Duration),
}

/// What came with one request.
#[derive(Clone, Debug)]
pub struct Received {
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Whether it was answered with success, at once.
    pub is_taken: bool,
}

impl Received {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

#[derive(Clone, Debug)]
pub struct Receiver {
    pub url: String,
    state: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    answers: VecDeque<Answer>,
    /// What it answers when these are used up.
    always: Option<Answer>,
    /// A text, and what a message that holds it is answered, whatever else is.
    poison: Option<(String, Answer)>,
    received: Vec<Received>,
}

impl Receiver {
    /// Starts one that answers 200.
    pub async fn start() -> Receiver {
        let state = Arc::<Mutex<Inner>>::default();
        let app = Router::new().fallback(receive).with_state(state.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Receiver { url, state }
    }

    /// What it answers next, and then 200 again.
    pub fn answers(&self, answers: impl IntoIterator<Item = Answer>) {
        self.state.lock().unwrap().answers.extend(answers);
    }

    /// What it answers from now on.
    pub fn always(&self, answer: Option<Answer>) {
        self.state.lock().unwrap().always = answer;
    }

    /// What it answers a message that holds a text, from now on.
    pub fn poison(&self, text: &str, answer: Answer) {
        self.state.lock().unwrap().poison = Some((text.to_owned(), answer));
    }

    /// All that came.
    pub fn received(&self) -> Vec<Received> {
        self.state.lock().unwrap().received.clone()
    }

    /// What it took, as a reader who drops repeats keeps it: of each id the highest revision.
    pub fn kept(&self) -> Vec<serde_json::Value> {
        let mut kept = std::collections::BTreeMap::new();
        for message in self.received().iter().filter(|received| received.is_taken).map(Received::json) {
            let id = message["id"].as_str().unwrap().to_owned();
            let newest = kept.entry(id).or_insert_with(|| message.clone());
            if message["revision"].as_u64() >= newest["revision"].as_u64() {
                *newest = message;
            }
        }
        kept.into_values().collect()
    }
}

async fn receive(State(state): State<Arc<Mutex<Inner>>>, headers: HeaderMap, body: Bytes) -> Response {
    let answer = {
        let mut state = state.lock().unwrap();
        let text = String::from_utf8_lossy(&body);
        let poison = state.poison.clone().filter(|(poison, _)| text.contains(poison)).map(|(_, answer)| answer);
        let answer = poison.or_else(|| state.answers.pop_front()).or_else(|| state.always.clone());
        let answer = answer.unwrap_or(Answer::Status(200));
        let is_taken = matches!(answer, Answer::Status(200..=299));
        state.received.push(Received { headers, body, is_taken });
        answer
    };
    let status = |code| StatusCode::from_u16(code).unwrap();
    match answer {
        Answer::Status(code) => (status(code), "said the receiver\u{1b}[2J").into_response(),
        Answer::With(code, name, value) => (status(code), [(name, value)]).into_response(),
        Answer::Late(pause) => {
            tokio::time::sleep(pause).await;
            StatusCode::OK.into_response()
        }
    }
}
