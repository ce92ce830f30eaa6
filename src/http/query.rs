//! The query string. A parameter that the route does not have is an error and not ignored: `?Page=2`
//! would return the first page for ever.

use std::collections::BTreeMap;

use super::details::Details;

/// The parameters of a request's query string: each is one of its route's, and is there once.
#[derive(Debug, Default)]
pub struct Query(BTreeMap<&'static str, String>);

impl Query {
    /// Reads a query string (URL Standard §5.1), noting what is none of the route's `parameters`,
    /// and what comes twice.
    pub fn parse(
        text: Option<&str>,
        parameters: &'static [&'static str],
        details: &mut Details,
    ) -> Self {
        let mut values = BTreeMap::new();
        let mut times = BTreeMap::<_, usize>::new();
        for (name, value) in url::form_urlencoded::parse(text.unwrap_or_default().as_bytes()) {
            let known = parameters.iter().find(|known| **known == name);
            let times = times.entry(name.clone()).or_default();
            *times += 1;
            match (known, *times) {
                (Some(known), 1) => {
                    values.insert(*known, value.into_owned());
                }
                (Some(known), 2) => {
                    details.add(known, "Repeated query parameter");
                    values.remove(*known);
                }
                (None, 1) => details.add(&name, "Unknown query parameter"),
                _ => {}
            }
        }
        Self(values)
    }

    /// A parameter's value, decoded.
    pub fn get(&self, parameter: &str) -> Option<&str> {
        self.0.get(parameter).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::super::details::MAX_DETAILS;
    use super::super::error::Error;
    use super::*;

    fn parse(text: &str) -> (Query, Vec<(String, String)>) {
        let mut details = Details::default();
        let query = Query::parse(Some(text), &["page", "limit"], &mut details);
        let wrong = match details.finish() {
            Err(Error::Invalid(details)) => details,
            _ => Vec::new(),
        };
        let wrong = wrong
            .into_iter()
            .map(|detail| (detail.field, detail.message));
        (query, wrong.collect())
    }

    #[test]
    fn a_parameter_is_read_decoded() {
        for (text, page) in [
            ("", None),
            ("&&", None),
            ("page", Some("")),
            ("page=2&limit=%31", Some("2")),
            ("p%61ge=a+b", Some("a b")),
        ] {
            let (query, wrong) = parse(text);
            assert_eq!(query.get("page"), page, "{text}");
            assert_eq!(wrong, [], "{text}");
        }
    }

    #[test]
    fn unknown_and_repeated_parameters_are_named_once() {
        let unknown = |name: &str| (name.to_owned(), "Unknown query parameter".to_owned());
        let (_, wrong) = parse("per_page=1&Page=2&per_page=3&=&%70age%20=1");
        assert_eq!(
            wrong,
            [
                unknown("per_page"),
                unknown("Page"),
                unknown(""),
                unknown("page ")
            ]
        );
        let (query, wrong) = parse("page=1&limit=2&page=1&page=1");
        let repeated = ("page".to_owned(), "Repeated query parameter".to_owned());
        assert_eq!(wrong, [repeated]);
        assert_eq!((query.get("page"), query.get("limit")), (None, Some("2")));
        let many: String = (0..9_000).map(|number| format!("{number}&")).collect();
        assert_eq!(parse(&many).1.len(), MAX_DETAILS);
    }
}
