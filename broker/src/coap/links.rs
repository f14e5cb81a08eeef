//! `/.well-known/core`: what is here, for whoever knows only the address (RFC 6690).
use super::resources::Resource;

/// One resource as discovery shows it.
struct Link {
    resource: Resource,
    path: &'static str,
    kind: &'static str,
    formats: &'static str,
}

/// Everything but `/.well-known/core` itself. Short enough for an answer to a plain discovery request without a
/// challenge first (a test holds that).
const LINKS: &[Link] = &[
    Link {
        resource: Resource::Challenge,
        path: "/challenge",
        kind: "kg.challenge",
        formats: "60",
    },
    Link {
        resource: Resource::Keys,
        path: "/keys",
        kind: "kg.keys",
        formats: "102",
    },
    Link {
        resource: Resource::Token,
        path: "/token",
        kind: "kg.token",
        formats: "\"18 19\"",
    },
];

/// The links that a query selects: `href=`, `rt=` and `ct=` with an optional `*` at the end (RFC 6690 §4.1). Several
/// parts must all match; an attribute that no link has matches none. What is not offered is not shown.
#[must_use]
pub fn select(query: &[Vec<u8>], offers: impl Fn(Resource) -> bool) -> String {
    let mut text = String::new();
    for link in LINKS {
        if !offers(link.resource) || !query.iter().all(|part| link.matches(part)) {
            continue;
        }
        if !text.is_empty() {
            text.push(',');
        }
        let Link {
            path,
            kind,
            formats,
            ..
        } = link;
        text.push_str(&format!("<{path}>;rt=\"{kind}\";ct={formats}"));
    }
    text
}

impl Link {
    fn matches(&self, part: &[u8]) -> bool {
        let Some((name, wanted)) = std::str::from_utf8(part)
            .ok()
            .and_then(|part| part.split_once('='))
        else {
            return false;
        };
        let value = match name {
            "href" => self.path,
            "rt" => self.kind,
            "ct" => self.formats.trim_matches('"'),
            _ => return false,
        };
        // An attribute may be a list; each of its words counts.
        match wanted.strip_suffix('*') {
            Some(prefix) => value.split(' ').any(|word| word.starts_with(prefix)),
            None => value == wanted || value.split(' ').any(|word| word == wanted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(query: &[&str]) -> Vec<String> {
        let query: Vec<Vec<u8>> = query.iter().map(|part| part.as_bytes().to_vec()).collect();
        select(&query, |_| true)
            .split(',')
            .filter_map(|link| link.split_once('>'))
            .map(|(path, _)| path.trim_start_matches('<').to_owned())
            .collect()
    }

    #[test]
    fn whole_list_is_a_link_format_document() {
        assert_eq!(
            select(&[], |_| true),
            "</challenge>;rt=\"kg.challenge\";ct=60,</keys>;rt=\"kg.keys\";ct=102,\
             </token>;rt=\"kg.token\";ct=\"18 19\""
        );
    }

    #[test]
    fn queries_select() {
        for (query, found) in [
            (&["rt=kg.token"][..], &["/token"][..]),
            (&["rt=kg.*"], &["/challenge", "/keys", "/token"]),
            (&["rt=kg"], &[]),
            (&["rt=ace.ai"], &[]),
            (&["rt=*"], &["/challenge", "/keys", "/token"]),
            (&["href=/t*"], &["/token"]),
            (&["href=/token"], &["/token"]),
            (&["href=/tok"], &[]),
            (&["ct=19"], &["/token"]),
            (&["ct=1*"], &["/keys", "/token"]),
            (&["rt=kg.*", "href=/keys"], &["/keys"]),
            (&["rt=kg.keys", "href=/token"], &[]),
            (&["obs"], &[]),
            (&["if=sensor"], &[]),
        ] {
            assert_eq!(paths(query), found, "{query:?}");
        }
    }

    #[test]
    fn what_is_not_offered_is_not_shown() {
        let challenges = |resource| resource == Resource::Challenge;
        assert_eq!(
            select(&[], challenges),
            "</challenge>;rt=\"kg.challenge\";ct=60"
        );
    }

    #[test]
    fn query_that_is_not_text_selects_nothing() {
        assert_eq!(select(&[vec![0xff, b'=', 0xfe]], |_| true), "");
    }
}
