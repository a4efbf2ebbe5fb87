//! Reads which file of a crate uses which other one: the modules, and every path that begins in the crate.
//!
//! It reads tokens, not the language: comments and strings are left out, what stands under `#[cfg(test)]` too. A path
//! is followed to the file that defines the module, through whatever another module re-exports on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Names of modules from the root of the crate on; empty for the root.
type ModulePath = Vec<String>;

/// How often a path may lead through an import; more is a circle of imports of one name.
const FOLLOWED_MAX: usize = 16;

/// Where a file is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// The line of the path.
    pub line: usize,
    /// The path as it is written.
    pub path: String,
}

/// The uses of a crate: the file that uses, the file that is used, and the first place.
pub type Uses = BTreeMap<(PathBuf, PathBuf), Use>;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Name(String),
    /// Content of a string, for `#[path = "…"]`.
    Text(String),
    /// `::`
    Path,
    Sign(char),
}

/// A path of a source, with the module in which it stands.
#[derive(Debug, Clone)]
struct Found {
    line: usize,
    names: Vec<String>,
    /// Whether it is `pub use`: what the module passes on, not what it uses.
    passed_on: bool,
}

#[derive(Debug, Default)]
struct Module {
    file: PathBuf,
    children: BTreeSet<String>,
    /// Names that an import brings into the module, and the paths behind them.
    imports: BTreeMap<String, Vec<String>>,
    found: Vec<Found>,
}

#[derive(Debug, Default)]
struct Crate {
    modules: BTreeMap<ModulePath, Module>,
}

/// All uses between the files of the crate that begins in `root`.
///
/// # Panics
/// Where a file of a module is missing.
pub fn uses(root: &Path) -> Uses {
    let mut all = Crate::default();
    let folder = root.parent().expect("a folder");
    all.read(root, folder, Vec::new());
    let mut uses = Uses::new();
    for (at, module) in &all.modules {
        for found in &module.found {
            for to in all.files_of(at, &found.names) {
                let own_child = all.is_above(at, &to);
                if to != module.file && !(found.passed_on && own_child) {
                    let place = Use { line: found.line, path: found.names.join("::") };
                    uses.entry((module.file.clone(), to)).or_insert(place);
                }
            }
        }
    }
    uses
}

impl Crate {
    fn read(&mut self, file: &Path, folder: &Path, at: ModulePath) {
        let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let tokens = tokens(&text);
        let mut reader = Reader { all: self, file, tokens: &tokens, next: 0 };
        reader.module(folder, &at);
    }

    /// The files that a path leads through which is written in the module `at`.
    fn files_of(&self, at: &ModulePath, names: &[String]) -> Vec<PathBuf> {
        let mut files = Vec::new();
        self.follow(at, names, &mut files, 0);
        files
    }

    fn follow(&self, at: &ModulePath, names: &[String], files: &mut Vec<PathBuf>, depth: usize) {
        if depth > FOLLOWED_MAX {
            return;
        }
        let mut names = names.iter();
        let mut here = at.clone();
        let first = names.as_slice().first().map(String::as_str);
        match first {
            Some("crate") => here = Vec::new(),
            Some("self") => {}
            Some("super") => {
                here.pop();
            }
            Some(name) if self.modules[at].children.contains(name) => here.push(name.to_owned()),
            Some(name) => {
                let Some(import) = self.modules[at].imports.get(name) else { return };
                let whole: Vec<String> = import.iter().chain(&names.as_slice()[1..]).cloned().collect();
                if import.first().map(String::as_str) != Some(name) {
                    self.follow(at, &whole, files, depth + 1);
                }
                return;
            }
            None => return,
        }
        names.next();
        let mut rest = names.as_slice();
        while let Some((name, behind)) = rest.split_first() {
            let module = &self.modules[&here];
            if name == "super" {
                here.pop();
            } else if module.children.contains(name) {
                here.push(name.clone());
            } else {
                if let Some(import) = module.imports.get(name) {
                    let whole: Vec<String> = import.iter().chain(behind).cloned().collect();
                    self.follow(&here, &whole, files, depth + 1);
                }
                break;
            }
            rest = behind;
        }
        files.push(self.modules[&here].file.clone());
    }

    /// Whether the file holds a module below `at`.
    fn is_above(&self, at: &ModulePath, file: &Path) -> bool {
        self.modules.iter().any(|(path, module)| path.len() > at.len() && path.starts_with(at) && module.file == file)
    }
}

struct Reader<'a> {
    all: &'a mut Crate,
    file: &'a Path,
    tokens: &'a [(usize, Token)],
    next: usize,
}

impl Reader<'_> {
    fn peek(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.next + ahead).map(|(_, token)| token)
    }

    fn is_name(&self, ahead: usize, name: &str) -> bool {
        matches!(self.peek(ahead), Some(Token::Name(found)) if found == name)
    }

    fn is_sign(&self, ahead: usize, sign: char) -> bool {
        self.peek(ahead) == Some(&Token::Sign(sign))
    }

    /// Reads a module up to its closing brace or the end of the file. `folder` is where its children's files lie.
    fn module(&mut self, folder: &Path, at: &ModulePath) {
        self.all.modules.entry(at.clone()).or_default().file = self.file.to_owned();
        let mut depth = 0_usize;
        let mut file_of_next: Option<String> = None;
        while let Some(token) = self.peek(0).cloned() {
            match token {
                Token::Sign('#') => {
                    let (is_test, path) = self.attribute();
                    file_of_next = path.or(file_of_next);
                    if is_test {
                        self.skip_item();
                        file_of_next = None;
                    }
                }
                Token::Sign('{') => {
                    depth += 1;
                    self.next += 1;
                }
                Token::Sign('}') => {
                    self.next += 1;
                    if depth == 0 {
                        return;
                    }
                    depth -= 1;
                }
                Token::Name(name) if name == "mod" && matches!(self.peek(1), Some(Token::Name(_))) => {
                    self.child(folder, at, file_of_next.take());
                }
                Token::Name(name) if name == "use" && !self.follows_path() => self.import(at),
                Token::Name(_) => self.path(at),
                _ => self.next += 1,
            }
        }
    }

    /// Whether the token before is `::`, as in a path whose last name is a keyword in disguise.
    fn follows_path(&self) -> bool {
        self.next.checked_sub(1).and_then(|at| self.tokens.get(at)).is_some_and(|(_, token)| *token == Token::Path)
    }

    /// `#[…]`: whether it is the test's configuration, and the file that it names.
    fn attribute(&mut self) -> (bool, Option<String>) {
        self.next += 1;
        if self.is_sign(0, '!') {
            self.next += 1;
        }
        let begin = self.next;
        self.skip_group('[', ']');
        let inside: Vec<&Token> = self.tokens[begin..self.next].iter().map(|(_, token)| token).collect();
        let has = |name: &str| inside.iter().any(|token| matches!(token, Token::Name(found) if found == name));
        let text = inside.iter().find_map(|token| match token {
            Token::Text(text) => Some(text.clone()),
            _ => None,
        });
        let is_path = inside.get(1) == Some(&&Token::Name("path".to_owned()));
        (has("cfg") && has("test") && !has("not"), text.filter(|_| is_path))
    }

    fn skip_group(&mut self, open: char, close: char) {
        let mut depth = 0_usize;
        while let Some(token) = self.peek(0) {
            depth = match token {
                Token::Sign(sign) if *sign == open => depth + 1,
                Token::Sign(sign) if *sign == close => depth.saturating_sub(1),
                _ => depth,
            };
            self.next += 1;
            if depth == 0 {
                return;
            }
        }
    }

    /// Skips attributes and the item behind them: to its semicolon or its closing brace.
    fn skip_item(&mut self) {
        while self.is_sign(0, '#') {
            self.attribute();
        }
        let is_import = self.is_name(0, "use") || self.is_name(1, "use");
        while let Some(token) = self.peek(0) {
            match token {
                Token::Sign('{') if !is_import => return self.skip_group('{', '}'),
                Token::Sign(';' | ',') if !is_import || *token == Token::Sign(';') => {
                    self.next += 1;
                    return;
                }
                Token::Sign('(') => self.skip_group('(', ')'),
                Token::Sign('}') if !is_import => return,
                _ => self.next += 1,
            }
        }
    }

    fn child(&mut self, folder: &Path, at: &ModulePath, file: Option<String>) {
        let Some(Token::Name(name)) = self.peek(1).cloned() else { return };
        let child: ModulePath = at.iter().cloned().chain([name.clone()]).collect();
        let is_inline = self.is_sign(2, '{');
        if !is_inline && !self.is_sign(2, ';') {
            self.next += 2;
            return;
        }
        self.next += 3;
        self.all.modules.get_mut(at).expect("the module is being read").children.insert(name.clone());
        if is_inline {
            return self.module(&folder.join(&name), &child);
        }
        let beside = self.file.parent().expect("a folder");
        let (file, below) = match file {
            Some(file) => (beside.join(&file), beside.join(&file).parent().expect("a folder").to_owned()),
            None if folder.join(format!("{name}.rs")).is_file() => {
                (folder.join(format!("{name}.rs")), folder.join(&name))
            }
            None => (folder.join(&name).join("mod.rs"), folder.join(&name)),
        };
        self.all.read(&file, &below, child);
    }

    /// `use …;`
    fn import(&mut self, at: &ModulePath) {
        let passed_on =
            self.next.checked_sub(1).and_then(|before| self.tokens.get(before)).is_some_and(|(_, token)| {
                matches!(token, Token::Name(name) if name == "pub") || *token == Token::Sign(')')
            });
        self.next += 1;
        let mut leaves = Vec::new();
        self.tree(&mut Vec::new(), &mut leaves);
        let module = self.all.modules.get_mut(at).expect("the module is being read");
        for (line, names, alias) in leaves {
            let last = names.last().cloned().unwrap_or_default();
            let alias = alias.unwrap_or(last);
            if alias != "*" && alias != "_" {
                module.imports.insert(alias, names.clone());
            }
            module.found.push(Found { line, names, passed_on });
        }
    }

    /// One tree of an import, with the names before it; stands behind it afterwards.
    fn tree(&mut self, before: &mut Vec<String>, leaves: &mut Vec<(usize, Vec<String>, Option<String>)>) {
        let length = before.len();
        let line = self.tokens.get(self.next).map_or(0, |(line, _)| *line);
        loop {
            match self.peek(0).cloned() {
                Some(Token::Name(name)) => {
                    self.next += 1;
                    // `{self}` is the module itself.
                    if name != "self" || before.is_empty() {
                        before.push(name);
                    }
                }
                Some(Token::Path) => self.next += 1,
                Some(Token::Sign('*')) => {
                    self.next += 1;
                    before.push("*".to_owned());
                }
                Some(Token::Sign('{')) => {
                    self.next += 1;
                    while self.peek(0).is_some() && !self.is_sign(0, '}') {
                        self.tree(before, leaves);
                        if self.is_sign(0, ',') {
                            self.next += 1;
                        }
                    }
                    self.next += 1;
                    before.truncate(length);
                    return;
                }
                _ => break,
            }
            if self.is_name(0, "as") {
                self.next += 1;
                let Some(Token::Name(alias)) = self.peek(0).cloned() else { break };
                self.next += 1;
                leaves.push((line, before.clone(), Some(alias)));
                before.truncate(length);
                return;
            }
        }
        if self.is_sign(0, ';') || self.is_sign(0, ',') || self.is_sign(0, '}') {
            leaves.push((line, before.clone(), None));
        } else {
            // No import after all, such as a captured lifetime's `use<…>`.
            self.next += 1;
        }
        before.truncate(length);
    }

    /// A path in the middle of code; a name alone is none.
    fn path(&mut self, at: &ModulePath) {
        let line = self.tokens[self.next].0;
        let continues = self.follows_path();
        let mut names = Vec::new();
        while let Some(Token::Name(name)) = self.peek(0).cloned() {
            names.push(name);
            self.next += 1;
            if self.peek(0) == Some(&Token::Path) && matches!(self.peek(1), Some(Token::Name(_))) {
                self.next += 1;
            } else {
                break;
            }
        }
        if names.len() > 1 && !continues {
            let module = self.all.modules.get_mut(at).expect("the module is being read");
            module.found.push(Found { line, names, passed_on: false });
        }
    }
}

/// The tokens of a source, each with its line.
fn tokens(text: &str) -> Vec<(usize, Token)> {
    let letters: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    let get = |at: usize| letters.get(at).copied().unwrap_or('\0');
    while at < letters.len() {
        let letter = letters[at];
        match letter {
            '\n' => {
                line += 1;
                at += 1;
            }
            '/' if get(at + 1) == '/' => at = (at..letters.len()).find(|at| get(*at) == '\n').unwrap_or(letters.len()),
            '/' if get(at + 1) == '*' => {
                let end = block_end(&letters, at);
                line += letters[at..end].iter().filter(|letter| **letter == '\n').count();
                at = end;
            }
            '"' => {
                let end = string_end(&letters, at);
                let content = letters[at + 1..end.saturating_sub(1).max(at + 1)].iter().collect();
                tokens.push((line, Token::Text(content)));
                line += letters[at..end].iter().filter(|letter| **letter == '\n').count();
                at = end;
            }
            'r' if matches!(get(at + 1), '"' | '#') && raw_end(&letters, at).is_some() => {
                let end = raw_end(&letters, at).unwrap_or(letters.len());
                line += letters[at..end].iter().filter(|letter| **letter == '\n').count();
                at = end;
            }
            '\'' => at = quote_end(&letters, at),
            ':' if get(at + 1) == ':' => {
                tokens.push((line, Token::Path));
                at += 2;
            }
            _ if letter.is_alphabetic() || letter == '_' => {
                let end = (at..letters.len()).find(|at| !(get(*at).is_alphanumeric() || get(*at) == '_'));
                let end = end.unwrap_or(letters.len());
                let name: String = letters[at..end].iter().collect();
                // A prefix of a string, as in `b"…"`, names nothing.
                if get(end) != '"' {
                    tokens.push((line, Token::Name(name)));
                }
                at = end;
            }
            _ if letter.is_whitespace() => at += 1,
            _ => {
                tokens.push((line, Token::Sign(letter)));
                at += 1;
            }
        }
    }
    tokens
}

/// Behind a comment that may have others in it.
fn block_end(letters: &[char], from: usize) -> usize {
    let (mut at, mut depth) = (from, 0_usize);
    while at + 1 < letters.len() {
        match (letters[at], letters[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    letters.len()
}

fn string_end(letters: &[char], from: usize) -> usize {
    let mut at = from + 1;
    while at < letters.len() && letters[at] != '"' {
        at += if letters[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(letters.len())
}

/// Behind `r"…"` or `r#"…"#`; none where it is a name such as `r#type`.
fn raw_end(letters: &[char], from: usize) -> Option<usize> {
    let marks = letters[from + 1..].iter().take_while(|letter| **letter == '#').count();
    let open = from + 1 + marks;
    (letters.get(open) == Some(&'"')).then_some(())?;
    let is_end = |at: &usize| {
        letters[*at] == '"' && letters[at + 1..].iter().take(marks).filter(|letter| **letter == '#').count() == marks
    };
    Some((open + 1..letters.len()).find(is_end).map_or(letters.len(), |at| at + 1 + marks))
}

/// Behind a character, or behind the mark of a lifetime.
fn quote_end(letters: &[char], from: usize) -> usize {
    if letters.get(from + 1) == Some(&'\\') {
        let close = (from + 3..letters.len()).find(|at| letters[*at] == '\'');
        return close.map_or(letters.len(), |at| at + 1);
    }
    if letters.get(from + 2) == Some(&'\'') { from + 3 } else { from + 1 }
}
