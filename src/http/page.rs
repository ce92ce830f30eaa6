//! Lists, a page at a time.

use std::ops::Range;

use serde::Serialize;

use super::details::Details;
use super::query::Query;

/// `?page=1&limit=10`: which part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Which page, from 1.
    #[param(
        required = false,
        minimum = 1,
        maximum = 1_000_000_000,
        default = 1,
        example = 1
    )]
    page: usize,
    /// How many items a page has at most.
    #[param(
        required = false,
        minimum = 1,
        maximum = 100,
        default = 10,
        example = 10
    )]
    limit: usize,
}

/// One page of a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    /// The page's items, the newest first.
    #[schema(max_items = 100)]
    items: Vec<T>,
    /// Which page this is, from 1.
    #[schema(minimum = 1, examples(1))]
    page: usize,
    /// How many items a page has at most.
    #[schema(minimum = 1, maximum = 100, examples(10))]
    limit: usize,
    /// How many items all pages have together.
    #[schema(examples(1))]
    total_items: usize,
    /// How many pages there are.
    #[schema(examples(1))]
    total_pages: usize,
    /// Whether there are items before this page.
    #[schema(examples(false))]
    has_previous_page: bool,
    /// Whether there are items after this page.
    #[schema(examples(false))]
    has_next_page: bool,
}

impl PageQuery {
    /// Reads `page` from 1 to 1,000,000,000 and `limit` from 1 to 100, noting what is wrong.
    pub fn read(query: &Query, details: &mut Details) -> Option<Self> {
        let mut number = |name, default, most: usize, message: &str| {
            let Some(text) = query.get(name) else {
                return Some(default);
            };
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text
                .parse()
                .ok()
                .filter(|number| digits && (1..=most).contains(number));
            details.check(name, number.ok_or(message))
        };
        let page = number(
            "page",
            1,
            1_000_000_000,
            "Must be a whole number from 1 to 1000000000",
        );
        let limit = number("limit", 10, 100, "Must be a whole number from 1 to 100");
        Some(Self {
            page: page?,
            limit: limit?,
        })
    }

    /// Which of a list's `total` items are on the page.
    pub fn range(self, total: usize) -> Range<usize> {
        let start = (self.page - 1).saturating_mul(self.limit).min(total);
        start..start.saturating_add(self.limit).min(total)
    }

    /// The page, of the items in its [range](Self::range) of a list of `total` items.
    pub fn of<T>(self, items: Vec<T>, total: usize) -> Page<T> {
        let total_pages = total.div_ceil(self.limit);
        Page {
            items,
            page: self.page,
            limit: self.limit,
            total_items: total,
            total_pages,
            has_previous_page: self.page > 1 && total > 0,
            has_next_page: self.page < total_pages,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Option<PageQuery> {
        let mut details = Details::default();
        let query = Query::parse(Some(query), &["page", "limit"], &mut details);
        PageQuery::read(&query, &mut details)
    }

    #[test]
    fn page_and_limit_have_ranges_and_defaults() {
        let first = PageQuery { page: 1, limit: 10 };
        assert_eq!(parse(""), Some(first));
        assert_eq!(
            parse("page=3&limit=100"),
            Some(PageQuery {
                page: 3,
                limit: 100
            })
        );
        for bad in [
            "page=0",
            "page=-1",
            "page=x",
            "page=",
            "limit=0",
            "limit=101",
            "limit=%2B5",
            "page=99999999999999999999",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_last_page_has_the_rest() {
        let page = |page| PageQuery { page, limit: 10 };
        assert_eq!(page(3).range(25), 20..25);
        assert_eq!(page(4).range(25), 25..25);
        assert_eq!(page(1_000_000_000).range(25), 25..25);
        let last = page(3).of(vec![20, 21, 22, 23, 24], 25);
        assert_eq!((last.total_items, last.total_pages), (25, 3));
        assert!(last.has_previous_page && !last.has_next_page);
        let none = page(1).of(Vec::<u8>::new(), 0);
        assert_eq!(none.total_pages, 0);
        assert!(!none.has_previous_page && !none.has_next_page);
    }
}
