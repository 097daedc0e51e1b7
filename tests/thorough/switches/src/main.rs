//! Builds many mutants into one program, each behind a switch.
//!
//! `switches LIST TREE` reads the mutants that `cargo mutants --list --json` found in the sources below TREE and
//! rewrites those sources, so that mutant number N, its place in the list, is in force while `crate::switch::on(N)`
//! says so. One compilation then serves them all. Prints the numbers of those that no switch can reach, since they
//! stand where a program cannot look at anything while it runs: in constants.
//!
//! The text is only ever added to at the borders of an expression, so that rewritten expressions nest.

use std::collections::BTreeMap;
use std::{env, fs};

use proc_macro2::{LineColumn, Span};
use serde_json::Value;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{BinOp, Expr, UnOp};

/// A mutant that is still to be placed.
#[derive(Clone)]
struct Mutant {
    number: usize,
    genre: String,
    replacement: String,
}

/// Text to be put in at a byte of the source, in place of the bytes up to `until`.
struct Edit {
    at: usize,
    until: usize,
    /// Among the texts at one place, those of wide expressions stand outside.
    order: (i64, i64),
    text: String,
}

struct Rewriter<'s> {
    source: &'s str,
    lines: Vec<usize>,
    /// By the byte at which their span begins.
    waiting: BTreeMap<usize, Vec<Mutant>>,
    edits: Vec<Edit>,
    /// How many constants are around us.
    constants: usize,
}

fn main() {
    let mut arguments = env::args().skip(1);
    let (list, tree) = (arguments.next().expect("LIST"), arguments.next().expect("TREE"));
    let list: Vec<Value> = serde_json::from_str(&fs::read_to_string(list).expect("the list")).expect("JSON");
    let mut files: BTreeMap<String, Vec<(usize, &Value)>> = BTreeMap::new();
    for (number, mutant) in list.iter().enumerate() {
        files.entry(word(mutant, "file")).or_default().push((number, mutant));
    }
    for (file, mutants) in files {
        let path = format!("{tree}/{file}");
        let source = fs::read_to_string(&path).expect("a source");
        let (rewritten, left) = rewrite(&source, &mutants);
        fs::write(&path, rewritten).expect("written");
        for number in left {
            println!("{number}");
        }
    }
}

fn word(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn rewrite(source: &str, mutants: &[(usize, &Value)]) -> (String, Vec<usize>) {
    let mut lines = vec![0];
    lines.extend(source.match_indices('\n').map(|(at, _)| at + 1));
    let mut rewriter = Rewriter { source, lines, waiting: BTreeMap::new(), edits: Vec::new(), constants: 0 };
    for (number, mutant) in mutants {
        let place = |name: &str| mutant["span"]["start"][name].as_u64().expect("a place") as usize;
        let at = rewriter.byte(LineColumn { line: place("line"), column: place("column") - 1 });
        let mutant = Mutant {
            number: *number,
            genre: word(mutant, "genre"),
            replacement: word(mutant, "replacement"),
        };
        rewriter.waiting.entry(at).or_default().push(mutant);
    }
    rewriter.visit_file(&syn::parse_file(source).expect("Rust"));
    let left = rewriter.waiting.values().flatten().map(|mutant| mutant.number).collect();
    (rewriter.applied(), left)
}

/// `if on(N) { … } else if … else { OTHERWISE }`, a line for each, so that the compiler's complaints name a mutant.
fn chosen(cases: &[(usize, String)], otherwise: &str) -> String {
    let mut text = String::new();
    for (number, case) in cases {
        text.push_str(&format!("\n if crate::switch::on({number}) {{ {case} }} else"));
    }
    format!("{text}\n {{ {otherwise} }}")
}

impl Rewriter<'_> {
    fn byte(&self, place: LineColumn) -> usize {
        let line = self.lines[place.line - 1];
        let rest = &self.source[line..];
        line + rest.char_indices().nth(place.column).map_or(rest.len(), |(at, _)| at)
    }

    fn ends(&self, span: Span) -> (usize, usize) {
        (self.byte(span.start()), self.byte(span.end()))
    }

    /// The mutants of that genre whose span begins there, taken out.
    fn take(&mut self, at: usize, genre: &str) -> Vec<Mutant> {
        let Some(there) = self.waiting.get_mut(&at).filter(|_| self.constants == 0) else {
            return Vec::new();
        };
        let (taken, left) = std::mem::take(there).into_iter().partition(|mutant| mutant.genre == genre);
        *there = left;
        taken
    }

    fn give_back(&mut self, at: usize, mutants: Vec<Mutant>) {
        self.waiting.entry(at).or_default().extend(mutants);
    }

    /// Puts `before` and `after` around an expression.
    fn around(&mut self, (from, to): (usize, usize), before: String, after: String) {
        let width = (to - from) as i64;
        // Of two that are equally wide, the one that is met first is the outer one.
        let turn = self.edits.len() as i64;
        self.edits.push(Edit { at: from, until: from, order: (-width, turn), text: before });
        self.edits.push(Edit { at: to, until: to, order: (i64::MIN + width, -turn), text: after });
    }

    fn replaced(&mut self, (from, to): (usize, usize), text: String) {
        self.edits.push(Edit { at: from, until: to, order: (0, 0), text });
    }

    fn applied(mut self) -> String {
        self.edits.sort_by_key(|edit| (edit.at, edit.order));
        let (mut text, mut done) = (String::new(), 0);
        for edit in self.edits {
            text.push_str(&self.source[done..edit.at.max(done)]);
            text.push_str(&edit.text);
            done = edit.until.max(done);
        }
        text + &self.source[done..]
    }

    fn binary(&mut self, whole: &syn::ExprBinary) {
        let (at, behind) = self.ends(whole.op.span());
        let mutants = self.take(at, "BinaryOperator");
        if mutants.is_empty() {
            return;
        }
        let (whole_ends, left, right) =
            (self.ends(whole.span()), self.ends(whole.left.span()), self.ends(whole.right.span()));
        let own = &self.source[at..behind];
        let cases = |of: &dyn Fn(&str) -> String| -> Vec<(usize, String)> {
            mutants.iter().map(|mutant| (mutant.number, of(&mutant.replacement))).collect()
        };
        match whole.op {
            BinOp::And(_) | BinOp::Or(_) => {
                let [mutant] = &mutants[..] else { return self.give_back(at, mutants) };
                if is_let(&whole.left) || is_let(&whole.right) {
                    return self.give_back(at, mutants);
                }
                let on = format!("crate::switch::on({})", mutant.number);
                let (then, middle, last) = match whole.op {
                    BinOp::And(_) => ("(if (", format!(") != \n{on} {{"), format!("}} else {{ {on} }})")),
                    _ => ("(if (", format!(") != \n{on} {{ !{on} }} else {{"), "})".to_owned()),
                };
                self.around(whole_ends, then.to_owned(), last);
                self.replaced((left.1, right.0), middle);
            }
            BinOp::Eq(_) | BinOp::Ne(_) | BinOp::Lt(_) | BinOp::Le(_) | BinOp::Gt(_) | BinOp::Ge(_) => {
                let switch = chosen(&cases(&|op| format!("l {op} r")), &format!("l {own} r"));
                self.around(whole_ends, "(match (&(".to_owned(), format!(")) {{ (l, r) => {switch} }})"));
                self.replaced((left.1, right.0), "), &(".to_owned());
            }
            _ if own.ends_with('=') => {
                let place = self.source[left.0..left.1].to_owned();
                let switch = chosen(&cases(&|op| format!("{place} {op} r")), &format!("{place} {own} r"));
                self.around(whole_ends, String::new(), format!(") {{ r => {switch} }}"));
                self.replaced((left.0, right.0), "match (".to_owned());
            }
            _ => {
                let switch = chosen(&cases(&|op| format!("l {op} r")), &format!("l {own} r"));
                self.around(whole_ends, "(match ((".to_owned(), format!(")) {{ (l, r) => {switch} }})"));
                self.replaced((left.1, right.0), "), (".to_owned());
            }
        }
    }

    fn unary(&mut self, whole: &syn::ExprUnary) {
        let op = self.ends(whole.op.span());
        let mutants = self.take(op.0, "UnaryOperator");
        let (Some(mutant), sign) = (mutants.first(), if let UnOp::Not(_) = whole.op { "!" } else { "-" })
        else {
            return;
        };
        let switch = chosen(&[(mutant.number, "x".to_owned())], &format!("{sign}x"));
        self.around(self.ends(whole.span()), "(match (".to_owned(), format!(") {{ x => {switch} }})"));
        self.replaced((op.0, self.ends(whole.expr.span()).0), String::new());
    }

    fn arm(&mut self, arm: &syn::Arm) {
        let deleted = self.take(self.ends(arm.span()).0, "MatchArm");
        let deleted = deleted.first().map(|mutant| mutant.number);
        let Some((_, guard)) = &arm.guard else {
            if let Some(number) = deleted {
                let end = self.ends(arm.pat.span()).1;
                self.replaced((end, end), format!(" if !\ncrate::switch::on({number})"));
            }
            return;
        };
        let ends = self.ends(guard.span());
        let changed = self.take(ends.0, "MatchArmGuard");
        if deleted.is_none() && changed.is_empty() {
            return;
        }
        let mut before = String::new();
        if let Some(number) = deleted {
            before.push_str(&format!("!\ncrate::switch::on({number}) && "));
        }
        before.push('(');
        for Mutant { number, replacement, .. } in changed {
            before.push_str(&format!("\n if crate::switch::on({number}) {{ {replacement} }} else"));
        }
        self.around(ends, before + " {", "})".to_owned());
    }

    fn structure(&mut self, whole: &syn::ExprStruct) {
        let Some(base) = &whole.rest else { return };
        let base = self.ends(base.span());
        let base = self.source[base.0..base.1].to_owned();
        for field in &whole.fields {
            let ends = self.ends(field.span());
            let Some(mutant) = self.take(ends.0, "StructField").pop() else { continue };
            let (syn::Member::Named(name), number) = (&field.member, mutant.number) else { continue };
            let instead =
                format!("\n if crate::switch::on({number}) {{ Clone::clone(&({base}).{name}) }} else {{");
            if field.colon_token.is_some() {
                self.around(self.ends(field.expr.span()), instead, "}".to_owned());
            } else {
                self.around(ends, format!("{name}: {instead}"), "}".to_owned());
            }
        }
    }

    /// A body begins by returning something else.
    fn body(&mut self, block: &syn::Block) {
        let Some(first) = block.stmts.first() else { return };
        let at = self.ends(first.span()).0;
        for Mutant { number, replacement, .. } in self.take(at, "FnValue") {
            let turn = self.edits.len() as i64;
            let text = format!("\n if crate::switch::on({number}) {{ return {replacement}; }}\n");
            self.edits.push(Edit { at, until: at, order: (i64::MIN / 2, turn), text });
        }
    }

    fn within_constant(&mut self, visit: impl FnOnce(&mut Self)) {
        self.constants += 1;
        visit(self);
        self.constants -= 1;
    }

    fn function(&mut self, signature: &syn::Signature, block: &syn::Block, visit: impl FnOnce(&mut Self)) {
        if signature.constness.is_some() {
            return self.within_constant(visit);
        }
        self.body(block);
        visit(self);
    }
}

fn is_let(expr: &Expr) -> bool {
    match expr {
        Expr::Let(_) => true,
        Expr::Binary(inner) => is_let(&inner.left) || is_let(&inner.right),
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Rewriter<'_> {
    fn visit_expr_binary(&mut self, node: &'ast syn::ExprBinary) {
        self.binary(node);
        visit::visit_expr_binary(self, node);
    }

    fn visit_expr_unary(&mut self, node: &'ast syn::ExprUnary) {
        self.unary(node);
        visit::visit_expr_unary(self, node);
    }

    fn visit_arm(&mut self, node: &'ast syn::Arm) {
        self.arm(node);
        visit::visit_arm(self, node);
    }

    fn visit_expr_struct(&mut self, node: &'ast syn::ExprStruct) {
        self.structure(node);
        visit::visit_expr_struct(self, node);
    }

    fn visit_item_fn(&mut self, node: &'ast syn::ItemFn) {
        self.function(&node.sig, &node.block, |rewriter| visit::visit_item_fn(rewriter, node));
    }

    fn visit_impl_item_fn(&mut self, node: &'ast syn::ImplItemFn) {
        self.function(&node.sig, &node.block, |rewriter| visit::visit_impl_item_fn(rewriter, node));
    }

    fn visit_trait_item_fn(&mut self, node: &'ast syn::TraitItemFn) {
        if let Some(block) = &node.default {
            self.function(&node.sig, block, |rewriter| visit::visit_trait_item_fn(rewriter, node));
        }
    }

    fn visit_item_const(&mut self, node: &'ast syn::ItemConst) {
        self.within_constant(|rewriter| visit::visit_item_const(rewriter, node));
    }

    fn visit_item_static(&mut self, node: &'ast syn::ItemStatic) {
        self.within_constant(|rewriter| visit::visit_item_static(rewriter, node));
    }

    fn visit_impl_item_const(&mut self, node: &'ast syn::ImplItemConst) {
        self.within_constant(|rewriter| visit::visit_impl_item_const(rewriter, node));
    }

    fn visit_expr_repeat(&mut self, node: &'ast syn::ExprRepeat) {
        self.visit_expr(&node.expr);
        self.within_constant(|rewriter| rewriter.visit_expr(&node.len));
    }

    fn visit_type_array(&mut self, node: &'ast syn::TypeArray) {
        self.within_constant(|rewriter| visit::visit_type_array(rewriter, node));
    }

    fn visit_variant(&mut self, node: &'ast syn::Variant) {
        self.within_constant(|rewriter| visit::visit_variant(rewriter, node));
    }
}
