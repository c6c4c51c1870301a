//! Where a statement of SQL ends. In: what was typed so far. Out: whole statements, and the one that has only begun.
//! Knows quotes and comments and nothing else of SQL.

/// A text cut at the semicolons outside of quotes and comments.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Statements {
    /// Statements that a semicolon ended, without it and without comments before them; empty ones are left out.
    pub(super) whole: Vec<String>,
    /// What follows the last semicolon; empty if that is only space and comments.
    pub(super) begun: String,
}

/// What the characters at a place in a text belong to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Code,
    Quote(char),
    LineComment,
    /// Comments of this kind nest; the number is their depth.
    BlockComment(usize),
}

/// Cuts `text` into statements. A quote or a comment that is still open makes what it stands in unfinished.
pub(super) fn split(text: &str) -> Statements {
    let mut statements = Statements::default();
    let (mut inside, mut start, mut has_code) = (Inside::Code, 0, false);
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map(|(_, next)| *next);
        let (now, pair) = match (inside, c, next) {
            (Inside::Code, ';', _) => {
                if has_code {
                    statements.whole.push(text[start..at].trim().to_owned());
                }
                (start, has_code) = (at + 1, false);
                continue;
            }
            (Inside::Code, '-', Some('-')) => (Inside::LineComment, true),
            (Inside::Code, '/', Some('*')) => (Inside::BlockComment(1), true),
            (Inside::Code, '\'' | '"', _) => (Inside::Quote(c), false),
            (Inside::Quote(open), c, _) if c == open => (Inside::Code, false),
            (Inside::LineComment, '\n', _) => (Inside::Code, false),
            (Inside::BlockComment(depth), '/', Some('*')) => (Inside::BlockComment(depth + 1), true),
            (Inside::BlockComment(1), '*', Some('/')) => (Inside::Code, true),
            (Inside::BlockComment(depth), '*', Some('/')) => (Inside::BlockComment(depth - 1), true),
            (unchanged, ..) => (unchanged, false),
        };
        let is_code = |inside| matches!(inside, Inside::Code | Inside::Quote(_));
        if !has_code && is_code(inside) && is_code(now) && !c.is_whitespace() {
            // What comes before is space and comments.
            (start, has_code) = (at, true);
        }
        inside = now;
        if pair {
            chars.next();
        }
    }
    if has_code || matches!(inside, Inside::BlockComment(_)) {
        statements.begun = text[start..].trim_start().to_owned();
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(text: &str) -> Vec<String> {
        split(text).whole
    }

    #[test]
    fn statements_end_at_semicolons_outside_of_quotes_and_comments() {
        assert_eq!(whole("SELECT 1; SELECT ';' ;"), ["SELECT 1", "SELECT ';'"]);
        assert_eq!(whole("SELECT \"a;b\", 'it''s;';"), ["SELECT \"a;b\", 'it''s;'"]);
        assert_eq!(whole("SELECT 1 -- not; here\n+ 1;"), ["SELECT 1 -- not; here\n+ 1"]);
        assert_eq!(whole("-- before; it\nSELECT 1;"), ["SELECT 1"]);
        assert_eq!(whole("SELECT /* a; /* b; */ c; */ 1;"), ["SELECT /* a; /* b; */ c; */ 1"]);
        assert_eq!(whole("SELECT 3 - -1, 4 / 2 * 1;"), ["SELECT 3 - -1, 4 / 2 * 1"]);
    }

    #[test]
    fn a_statement_without_its_end_has_begun() {
        assert_eq!(split("SELECT 1;\nSELECT 2\n").begun, "SELECT 2\n");
        assert_eq!(split("SELECT 'a;\n").begun, "SELECT 'a;\n");
        assert_eq!(split("/* a;\n").begun, "/* a;\n");
    }

    #[test]
    fn space_and_comments_alone_are_no_statement() {
        for text in ["", " ; ;\n", "-- nothing;\n", "/* nothing; */ ;", "-- a\n/* b */\n"] {
            assert_eq!(split(text), Statements::default(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn lines_may_come_one_by_one(text in "[a;'\"\\-/* \n]{0,30}") {
            let at_once = split(&text);
            let (mut pending, mut whole) = (String::new(), Vec::new());
            for line in text.split_inclusive('\n') {
                pending += line;
                let statements = split(&pending);
                whole.extend(statements.whole);
                pending = statements.begun;
            }
            prop_assert_eq!(whole, at_once.whole);
        }
    }
}
