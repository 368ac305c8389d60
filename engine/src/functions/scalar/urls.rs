//! Functions of URLs.
//!
//! A URL is read as `java.net.URI` reads it: `scheme:[//[user@]host[:port]][path][?query][#fragment]`. Parts come
//! decoded; a part that is missing, or a text that is no URI, gives null.

use arrow::datatypes::Int32Type;
use percent_encoding::percent_decode_str;

use super::ScalarFunction;
use crate::functions::columns::{Str, map1, map2};

const CATEGORY: &str = "URL";

pub fn functions() -> Vec<ScalarFunction> {
    vec![
        extract("URL_EXTRACT_PROTOCOL", "The protocol of a URL.", |uri| uri.scheme.map(str::to_string))
            .example("URL_EXTRACT_PROTOCOL('https://a.io/p')", "https"),
        extract("URL_EXTRACT_HOST", "The host of a URL.", |uri| uri.host().map(str::to_string))
            .example("URL_EXTRACT_HOST('http://user@a.io:8080/p')", "a.io"),
        extract("URL_EXTRACT_PATH", "The path of a URL, decoded.", |uri| uri.path.map(decoded))
            .example("URL_EXTRACT_PATH('http://a.io/p%20q?x')", "/p q"),
        extract("URL_EXTRACT_QUERY", "The query of a URL, decoded.", |uri| uri.query.map(decoded))
            .example("URL_EXTRACT_QUERY('http://a.io/?a=b%20c#f')", "a=b c"),
        extract("URL_EXTRACT_FRAGMENT", "The fragment of a URL, decoded.", |uri| uri.fragment.map(decoded))
            .example("URL_EXTRACT_FRAGMENT('http://a.io/?query#part')", "part"),
        ScalarFunction::new("URL_EXTRACT_PORT", CATEGORY, "The port of a URL, if it names one.")
            .example("URL_EXTRACT_PORT('http://a.io:8080')", "8080")
            .overload("(STRING input) -> INT", |args, _| {
                map1::<Str, Int32Type>(args, |text| Ok(Uri::new(text).and_then(|uri| uri.port())))
            }),
        ScalarFunction::new("URL_EXTRACT_PARAMETER", CATEGORY, "The value of a parameter of a URL's query.")
            .example("URL_EXTRACT_PARAMETER('http://a.io/?one=a&two=b', 'two')", "b")
            .overload("(STRING input, STRING paramToFind) -> STRING", |args, _| {
                map2::<Str, Str, Str>(args, |text, wanted| Ok(Uri::new(text).and_then(|uri| uri.parameter(wanted))))
            }),
        ScalarFunction::new("URL_ENCODE_PARAM", CATEGORY, "The text as it stands in a URL's query.")
            .example("URL_ENCODE_PARAM('?foo $bar')", "%3Ffoo+%24bar")
            .overload("(STRING value) -> STRING", |args, _| {
                map1::<Str, Str>(args, |text| Ok(Some(encode_parameter(text))))
            }),
        ScalarFunction::new("URL_DECODE_PARAM", CATEGORY, "The text that a parameter of a URL's query stands for.")
            .example("URL_DECODE_PARAM('%3Ffoo+%24bar')", "?foo $bar")
            .overload("(STRING value) -> STRING", |args, _| {
                map1::<Str, Str>(args, |text| decode_parameter(text).map(Some))
            }),
    ]
}

fn extract(name: &'static str, description: &'static str, part: fn(&Uri<'_>) -> Option<String>) -> ScalarFunction {
    ScalarFunction::new(name, CATEGORY, description).overload("(STRING input) -> STRING", move |args, _| {
        map1::<Str, Str>(args, |text| Ok(Uri::new(text).and_then(|uri| part(&uri))))
    })
}

fn decoded(part: &str) -> String {
    percent_decode_str(part).decode_utf8_lossy().into_owned()
}

/// The parts of a URI, as written. An opaque one (`mailto:a@b`) has no host, path or query.
struct Uri<'a> {
    scheme: Option<&'a str>,
    authority: Option<&'a str>,
    path: Option<&'a str>,
    query: Option<&'a str>,
    fragment: Option<&'a str>,
}

impl<'a> Uri<'a> {
    fn new(text: &'a str) -> Option<Self> {
        if !is_legal(text) {
            return None;
        }
        let (rest, fragment) = split(text, '#');
        if fragment.is_some_and(|f| f.contains('#')) {
            return None;
        }
        let (scheme, rest) = match rest.find([':', '/', '?']) {
            Some(at) if rest.as_bytes()[at] == b':' => (Some(&rest[..at]), &rest[at + 1..]),
            _ => (None, rest),
        };
        if let Some(scheme) = scheme {
            let legal = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
            if !legal || rest.is_empty() {
                return None;
            }
            if !rest.starts_with('/') {
                return Some(Self { scheme: Some(scheme), authority: None, path: None, query: None, fragment });
            }
        }
        let (rest, query) = split(rest, '?');
        let (authority, path) = match rest.strip_prefix("//") {
            Some(after) => {
                let end = after.find('/').unwrap_or(after.len());
                if end == 0 && after.is_empty() {
                    return None;
                }
                (Some(&after[..end]).filter(|a| !a.is_empty()), &after[end..])
            }
            None => (None, rest),
        };
        Some(Self { scheme, authority, path: Some(path), query, fragment })
    }

    /// Host and port, if the authority is one of a server.
    fn server(&self) -> Option<(&'a str, Option<&'a str>)> {
        let authority = self.authority?;
        let address = authority.rsplit_once('@').map_or(authority, |(_, address)| address);
        let (host, port) = if address.starts_with('[') {
            let end = address.find(']')? + 1;
            (&address[..end], address[end..].strip_prefix(':'))
        } else {
            split(address, ':')
        };
        let port_legal = port.is_none_or(|p| p.bytes().all(|b| b.is_ascii_digit()));
        (port_legal && is_host(host)).then_some((host, port))
    }

    fn host(&self) -> Option<&'a str> {
        self.server().map(|(host, _)| host)
    }

    fn port(&self) -> Option<i32> {
        self.server()?.1?.parse().ok()
    }

    fn parameter(&self, wanted: &str) -> Option<String> {
        let query = decoded(self.query?);
        query.split('&').find_map(|parameter| {
            let (name, value) = split(parameter, '=');
            (name == wanted).then(|| value.unwrap_or("").to_string())
        })
    }
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    match text.split_once(at) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

/// No blanks, control characters, `<>"{}|\^` or backquote, and `%` only before two hexadecimal digits.
fn is_legal(text: &str) -> bool {
    let bytes = text.as_bytes();
    let escapes = bytes
        .iter()
        .enumerate()
        .filter(|(_, b)| **b == b'%')
        .all(|(at, _)| bytes.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)));
    let illegal = |c: char| {
        c.is_control() || c.is_whitespace() || matches!(c, '<' | '>' | '"' | '{' | '}' | '|' | '\\' | '^' | '`')
    };
    escapes && !text.contains(illegal)
}

/// A host name whose last label starts with a letter, an IPv4 address, or an IPv6 address in brackets.
fn is_host(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        return inner.split('%').next().is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
    }
    if host.parse::<std::net::Ipv4Addr>().is_ok() {
        return true;
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let label = |label: &str| {
        !label.is_empty()
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.split('.').all(label)
        && name.rsplit('.').next().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_alphabetic()))
}

/// `application/x-www-form-urlencoded`.
fn encode_parameter(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            other => {
                const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
                out.push('%');
                out.push(char::from(DIGITS[usize::from(other >> 4)]));
                out.push(char::from(DIGITS[usize::from(other & 15)]));
            }
        }
    }
    out
}

fn decode_parameter(text: &str) -> Result<String, String> {
    let bytes = text.as_bytes();
    for (at, _) in bytes.iter().enumerate().filter(|(_, b)| **b == b'%') {
        if !bytes.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            return Err(format!("URLDecoder: Illegal hex characters in escape (%) pattern: {text}"));
        }
    }
    Ok(decoded(&text.replace('+', " ")))
}
