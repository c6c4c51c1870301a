//! The description of the API against the API: what `/openapi.json` says a parameter may be is accepted, up to its bounds,
//! and what it says it may not be is refused. The requests are made from the description, so a new parameter is held, too.

use crate::serve::{get, parts, post, send};
use axum::Router;
use axum::http::StatusCode;
use flowdiff::output::Format;
use flowdiff::serve::{Options, Parts, Service, openapi, router};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use url::form_urlencoded::Serializer;

/// Values of the parameters that must be there, and of those of a path.
const REQUIRED: [(&str, &str); 9] = [
    ("window", "2024-05-01T12"),
    ("before", "2024-05-01T12"),
    ("after", "2024-05-01T13"),
    ("srcaddr", "10.0.0.3"),
    ("dstaddr", "10.0.1.2"),
    ("{id}", "00000000-0000-5000-8000-000000000000"),
    ("{name}", "busiest_edges"),
    ("window_start", "2024-05-01T12:00Z"),
    ("window_stop", "2024-05-01T13:00Z"),
];
/// Parameters that may be any text as far as the description says; what they mean their own tests hold.
const FREE: [&str; 6] = ["after", "before", "from", "interface_id", "to", "window"];

/// A service and what it says of itself.
struct Described {
    router: Router,
    api: Value,
}

type Asked = BTreeMap<String, String>;

impl Described {
    fn new(options: Options) -> Described {
        let api = serde_json::to_value(openapi(&options)).unwrap();
        Described { router: router(Service::new(Parts { options, ..parts() })), api }
    }

    /// A schema itself, be it a reference to one.
    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(reference) => self.api.pointer(reference.strip_prefix('#').unwrap()).expect(reference),
            None => schema,
        }
    }

    /// Whether a request is taken for one that makes sense; that there is nothing to be found is another matter.
    async fn accepts(&self, path: &str, asked: &Asked) -> bool {
        let parts = REQUIRED.iter().filter(|(name, _)| name.starts_with('{'));
        let path = parts.fold(path.to_owned(), |path, (name, value)| path.replace(name, value));
        let uri = format!("{path}?{}", Serializer::new(String::new()).extend_pairs(asked).finish());
        let status = send(&self.router, get(&uri)).await.status();
        assert!(!status.is_server_error(), "{uri}: {status}");
        // What is of no shape, and a cursor of something else.
        ![StatusCode::BAD_REQUEST, StatusCode::CONFLICT].contains(&status)
    }

    /// The paths that are got.
    fn paths(&self) -> impl Iterator<Item = &str> {
        let paths = self.api["paths"].as_object().unwrap().iter();
        paths.filter(|(_, methods)| methods["get"].is_object()).map(|(path, _)| path.as_str())
    }

    /// The parameters of a path's query string: name, whether it is required, schema.
    fn parameters(&self, path: &str) -> Vec<(&str, bool, &Value)> {
        let all = self.api["paths"][path]["get"]["parameters"].as_array().into_iter().flatten();
        let own = all.filter(|parameter| parameter["in"] == "query").map(|parameter| {
            let is_required = parameter["required"].as_bool().unwrap();
            (parameter["name"].as_str().unwrap(), is_required, self.resolve(&parameter["schema"]))
        });
        own.collect()
    }
}

/// Texts that a schema allows and texts that it does not; `None` if it allows all.
fn examples(schema: &Value) -> Option<(Vec<String>, Vec<String>)> {
    if let Some(values) = schema["enum"].as_array() {
        let allowed: Vec<String> = values.iter().map(|value| value.as_str().unwrap().to_owned()).collect();
        let formats = clap::ValueEnum::value_variants().iter().map(Format::name);
        let others = formats.chain(["EDGE", "subnet", "paused", "", "json,csv"].map(str::to_owned));
        let refused = others.filter(|name| !allowed.contains(name)).collect();
        return Some((allowed, refused));
    }
    let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let bounds = |least: i128, most: i128, is_bounded: bool| {
        let mut refused = vec![(least - 1).to_string(), "some".to_owned(), "1.5".to_owned(), String::new()];
        refused.extend(is_bounded.then(|| (most + 1).to_string()));
        (vec![least.to_string(), most.to_string()], refused)
    };
    let number = |name: &str| schema[name].as_i64().map(i128::from);
    match schema["type"].as_str() {
        Some("integer") => {
            let most = number("maximum");
            let least = number("minimum").expect("a whole number has a least one");
            Some(bounds(least, most.unwrap_or(i64::MAX.into()), most.is_some()))
        }
        Some("number") => {
            let least = schema["minimum"].as_f64().unwrap();
            let refused = [(least - 0.001).to_string(), "inf".to_owned(), "NaN".to_owned(), "much".to_owned()];
            Some((vec![least.to_string(), "1e300".to_owned()], refused.into()))
        }
        Some("string") if schema["pattern"].is_string() => Some((vec![], strings(&["again", "-1", ""]))),
        Some("string") => None,
        _ => {
            let families: Vec<&Value> = schema["oneOf"].as_array().unwrap().iter().map(|one| &one["format"]).collect();
            assert_eq!(families, ["ipv4", "ipv6"]);
            Some((strings(&["10.0.0.1", "2001:db8::1"]), strings(&["here", "10.0.0.0/8", "10.0.0.256", ""])))
        }
    }
}

async fn hold(described: &Described) {
    let mut free = BTreeSet::new();
    for path in described.paths() {
        let parameters = described.parameters(path);
        let required = parameters.iter().filter(|(_, is_required, _)| *is_required).map(|(name, ..)| *name);
        // Those of a query are its own.
        let own: &[&str] = if path.ends_with("{name}") { &["window_start", "window_stop"] } else { &[] };
        let value = |name: &str| REQUIRED.iter().find(|(known, _)| *known == name).unwrap().1.to_owned();
        let asked: Asked = required.chain(own.iter().copied()).map(|name| (name.to_owned(), value(name))).collect();
        assert!(described.accepts(path, &asked).await, "{path}: {asked:?}");
        for &(name, is_required, schema) in &parameters {
            let with = |text: &str| {
                let mut asked = asked.clone();
                asked.insert(name.to_owned(), text.to_owned());
                asked
            };
            if is_required {
                let less = asked.iter().filter(|(other, _)| *other != name);
                let less = less.map(|(name, value)| (name.clone(), value.clone())).collect();
                assert!(!described.accepts(path, &less).await, "{path} does without {name}");
            }
            let Some((allowed, refused)) = examples(schema) else {
                free.insert(name);
                continue;
            };
            for text in allowed {
                assert!(described.accepts(path, &with(&text)).await, "{path}: {name}={text:?} is refused");
            }
            for text in refused {
                assert!(!described.accepts(path, &with(&text)).await, "{path}: {name}={text:?} is accepted");
            }
        }
        // The others read no query string.
        if !parameters.is_empty() {
            let mut more = asked.clone();
            more.insert("colour".to_owned(), "red".to_owned());
            assert!(!described.accepts(path, &more).await, "{path} takes what it does not know");
        }
    }
    assert_eq!(Vec::from_iter(free), FREE);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_description_allows_is_accepted_and_nothing_else() {
    hold(&Described::new(Options::default())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_that_a_setting_decides_is_described_as_it_is_set() {
    let described = Described::new(Options { page_rows_max: 7, ..Options::default() });
    assert_eq!(described.api["components"]["schemas"]["PageRows"]["maximum"], 7);
    hold(&described).await;
}

/// Without a worker, a body that makes sense finds no jobs (404).
#[tokio::test(flavor = "multi_thread")]
async fn a_job_has_the_windows_that_the_description_allows() {
    let described = Described::new(Options::default());
    let accepts = async |body: Value| {
        let response = send(&described.router, post("/v1/jobs", "application/json", &body.to_string())).await;
        response.status() != StatusCode::BAD_REQUEST
    };
    let schemas = &described.api["components"]["schemas"];
    let windows = described.resolve(&schemas["JobRequest"]["properties"]["windows"]);
    let kinds = schemas["JobKind"]["enum"].as_array();
    let of = |count: u64| vec!["2024-05-01T12"; usize::try_from(count).unwrap()];
    let (least, most) = (windows["minItems"].as_u64().unwrap(), windows["maxItems"].as_u64().unwrap());
    for count in 0..=most + 1 {
        assert_eq!(accepts(json!({ "windows": of(count) })).await, (least..=most).contains(&count), "{count} windows");
    }
    for kind in kinds.unwrap() {
        let asked = async |count| accepts(json!({ "windows": of(count), "kind": kind })).await;
        assert!(asked(least).await || asked(most).await, "{kind}");
    }
    assert!(!accepts(json!({ "windows": of(1), "kind": "map" })).await);
    assert!(!accepts(json!({ "windows": of(1), "colour": "red" })).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_taken_in_every_media_type_that_the_description_names() {
    let described = Described::new(Options::default());
    let content = &described.api["paths"]["/v1/sql"]["post"]["requestBody"]["content"];
    for media_type in content.as_object().unwrap().keys() {
        let body = match media_type.as_str() {
            "application/json" => r#"{"sql": "SELECT $a AS a, $b AS b", "params": {"a": 1.5, "b": "text"}}"#,
            _ => "SELECT 1 AS a",
        };
        assert_eq!(send(&described.router, post("/v1/sql", media_type, body)).await.status(), 200, "{media_type}");
    }
}
