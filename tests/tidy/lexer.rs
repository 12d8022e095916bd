//! Rust text to tokens and comments: enough of the language to find paths, items and blocks, and never to mistake a string or a
//! comment for code.

/// One token of code. Strings and characters are `Literal`, whatever they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    /// For a literal its text without prefix, hashes and quotes.
    pub(crate) text: String,
    /// Counted from 1.
    pub(crate) line: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Identifiers, keywords and numbers.
    Word,
    /// `::` or one character.
    Mark,
    Literal,
    Lifetime,
}

/// A comment, or several line comments that follow each other.
#[derive(Clone, Debug)]
pub(crate) struct Comment {
    pub(crate) text: String,
    pub(crate) first_line: usize,
    pub(crate) last_line: usize,
    pub(crate) is_doc: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Lexed {
    pub(crate) tokens: Vec<Token>,
    pub(crate) comments: Vec<Comment>,
    pub(crate) line_count: usize,
}

impl Token {
    pub(crate) fn is(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Word | Kind::Mark) && self.text == text
    }
}

struct Cursor {
    chars: Vec<char>,
    at: usize,
    line: usize,
}

impl Cursor {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn starts_with(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(i, c)| self.peek(i) == Some(c))
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek(0)?;
        self.at += 1;
        self.line += usize::from(c == '\n');
        Some(c)
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let mut text = String::new();
        while let Some(c) = self.peek(0).filter(|&c| wanted(c)) {
            text.push(c);
            self.bump();
        }
        text
    }

    /// What stands before `end`, which is consumed too.
    fn take_until(&mut self, end: &str) -> String {
        let mut text = String::new();
        while !self.starts_with(end) {
            match self.bump() {
                Some(c) => text.push(c),
                None => return text,
            }
        }
        self.at += end.chars().count();
        text
    }

    /// The rest of a literal with escapes, behind its opening quote.
    fn quoted(&mut self, quote: char) -> String {
        let mut text = String::new();
        while let Some(c) = self.bump() {
            if c == quote {
                break;
            }
            text.push(c);
            if c == '\\' {
                text.extend(self.bump());
            }
        }
        text
    }

    fn block_comment(&mut self) -> String {
        let mut text = String::new();
        let mut depth = 0usize;
        loop {
            if self.starts_with("/*") {
                depth += 1;
            } else if self.starts_with("*/") {
                depth -= 1;
                if depth == 0 {
                    self.at += 2;
                    return text;
                }
            }
            match self.bump() {
                Some(c) => text.push(c),
                None => return text,
            }
        }
    }

    /// The literal that a prefix such as `r`, `b`, `br` or `c` opens, if it opens one.
    fn prefixed_literal(&mut self, prefix: &str) -> Option<String> {
        let hashes = (0..).take_while(|&i| self.peek(i) == Some('#')).count();
        let quote = self.peek(hashes)?;
        match (prefix, quote) {
            ("r" | "br" | "cr", '"') => {
                self.at += hashes + 1;
                Some(self.take_until(&format!("\"{}", "#".repeat(hashes))))
            }
            ("b" | "c", '"') | ("b", '\'') if hashes == 0 => {
                self.at += 1;
                Some(self.quoted(quote))
            }
            _ => None,
        }
    }
}

pub(crate) fn lex(text: &str) -> Lexed {
    let mut cursor = Cursor { chars: text.chars().collect(), at: 0, line: 1 };
    let mut lexed = Lexed { line_count: text.lines().count(), ..Lexed::default() };
    while let Some(c) = cursor.peek(0) {
        let line = cursor.line;
        if c.is_whitespace() {
            cursor.bump();
        } else if cursor.starts_with("//") {
            let text = cursor.take_while(|c| c != '\n');
            push_comment(&mut lexed.comments, text, line, line);
        } else if cursor.starts_with("/*") {
            let text = cursor.block_comment();
            push_comment(&mut lexed.comments, text, line, cursor.line);
        } else {
            let (kind, text) = next_token(&mut cursor, c);
            lexed.tokens.push(Token { kind, text, line });
        }
    }
    lexed
}

fn push_comment(comments: &mut Vec<Comment>, text: String, first_line: usize, last_line: usize) {
    let is_doc = ["///", "//!", "/**", "/*!"].iter().any(|start| text.starts_with(start));
    match comments.last_mut() {
        Some(above) if above.last_line + 1 == first_line && above.is_doc == is_doc => {
            above.text.push('\n');
            above.text.push_str(&text);
            above.last_line = last_line;
        }
        _ => comments.push(Comment { text, first_line, last_line, is_doc }),
    }
}

fn next_token(cursor: &mut Cursor, c: char) -> (Kind, String) {
    if c.is_alphanumeric() || c == '_' {
        let word = cursor.take_while(|c| c.is_alphanumeric() || c == '_');
        if let Some(text) = cursor.prefixed_literal(&word) {
            return (Kind::Literal, text);
        }
        if word == "r" && cursor.peek(0) == Some('#') {
            cursor.bump();
            return (Kind::Word, cursor.take_while(|c| c.is_alphanumeric() || c == '_'));
        }
        return (Kind::Word, word);
    }
    cursor.bump();
    match c {
        '"' => (Kind::Literal, cursor.quoted('"')),
        '\'' if cursor.peek(0) == Some('\\') || cursor.peek(1) == Some('\'') => (Kind::Literal, cursor.quoted('\'')),
        '\'' => (Kind::Lifetime, cursor.take_while(|c| c.is_alphanumeric() || c == '_')),
        ':' if cursor.peek(0) == Some(':') => {
            cursor.bump();
            (Kind::Mark, "::".to_owned())
        }
        _ => (Kind::Mark, c.to_string()),
    }
}
