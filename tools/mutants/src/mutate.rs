//! The mutants of a file: operators exchanged, negations left out, values returned at once.

use quote::quote;
use syn::{
    Attribute, BinOp, Block, Expr, ImplItemFn, Item, ItemFn, Pat, ReturnType, Signature, Type,
    parse_quote, spanned::Spanned, visit_mut::VisitMut,
};

/// A mutant that has been written.
pub struct Mutant {
    pub id: usize,
    pub line: usize,
    pub what: String,
}

/// Counts places in the order of the source, and changes those that were drawn.
pub struct Mutator {
    next: usize,
    first: usize,
    chosen: Vec<usize>,
    pub mutants: Vec<Mutant>,
}

impl Mutator {
    pub fn new(first: usize, chosen: Vec<usize>) -> Self {
        Self { next: first, first, chosen, mutants: Vec::new() }
    }

    pub fn places(&self) -> usize {
        self.next - self.first
    }

    pub fn visit(&mut self, file: &mut syn::File) {
        self.visit_file_mut(file);
    }

    /// Counts a place, and says whether it is one that was drawn.
    fn take(&mut self, line: usize, what: impl FnOnce() -> String) -> Option<usize> {
        let id = self.next;
        self.next += 1;
        self.chosen.binary_search(&id).ok()?;
        self.mutants.push(Mutant { id, line, what: what() });
        Some(id)
    }

    fn body(&mut self, signature: &Signature, block: &mut Block) {
        if signature.constness.is_some() {
            return;
        }
        self.visit_block_mut(block);
        let (name, line) = (&signature.ident, signature.span().start().line);
        for value in returned(&signature.output) {
            let what = || format!("{name}: return {} at once", quote!(#value));
            let switch = switch();
            if let Some(id) = self.take(line, what) {
                block.stmts.insert(0, parse_quote!(if #switch(#id) { return #value; }));
            }
        }
    }
}

impl VisitMut for Mutator {
    fn visit_item_mut(&mut self, item: &mut Item) {
        let attributes = match item {
            Item::Fn(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Trait(_) => &Vec::new(),
            _ => return, // constants, types, macros
        };
        if !attributes.iter().any(is_test) {
            syn::visit_mut::visit_item_mut(self, item);
        }
    }

    fn visit_item_fn_mut(&mut self, item: &mut ItemFn) {
        self.body(&item.sig, &mut item.block);
    }

    fn visit_impl_item_fn_mut(&mut self, item: &mut ImplItemFn) {
        if !item.attrs.iter().any(is_test) {
            self.body(&item.sig, &mut item.block);
        }
    }

    fn visit_impl_item_const_mut(&mut self, _: &mut syn::ImplItemConst) {}

    fn visit_pat_mut(&mut self, _: &mut Pat) {}

    fn visit_type_mut(&mut self, _: &mut Type) {}

    fn visit_expr_repeat_mut(&mut self, repeat: &mut syn::ExprRepeat) {
        self.visit_expr_mut(&mut repeat.expr);
    }

    fn visit_expr_const_mut(&mut self, _: &mut syn::ExprConst) {}

    fn visit_generic_argument_mut(&mut self, _: &mut syn::GenericArgument) {}

    fn visit_expr_mut(&mut self, expr: &mut Expr) {
        let (line, switch) = (expr.span().start().line, switch());
        syn::visit_mut::visit_expr_mut(self, expr);
        match expr {
            Expr::Binary(binary) if !has_let(&binary.left) && !has_let(&binary.right) => {
                let Some(other) = exchanged(&binary.op) else { return };
                let (op, mut mutant) = (binary.op, binary.clone());
                mutant.op = other;
                if let Some(id) = self.take(line, || format!("{} -> {}", quote!(#op), quote!(#other))) {
                    *expr = parse_quote!((if #switch(#id) { #mutant } else { #binary }));
                }
            }
            Expr::Unary(unary) if !matches!(unary.op, syn::UnOp::Deref(_)) => {
                let (op, inner) = (unary.op, unary.expr.clone());
                if let Some(id) = self.take(line, || format!("without {}", quote!(#op))) {
                    *expr = parse_quote!((if #switch(#id) { #inner } else { #unary }));
                }
            }
            _ => {}
        }
    }
}

/// The function that says whether a mutant is active.
fn switch() -> syn::Path {
    syn::parse_str("crate::mutant").expect("a path")
}

fn is_test(attribute: &Attribute) -> bool {
    let text = quote!(#attribute).to_string();
    text.contains("test") || text.contains("windows") || text.contains("cuda")
        || text.contains("debug_assertions")
}

/// Whether `let` is part of a condition.
fn has_let(expr: &Expr) -> bool {
    match expr {
        Expr::Let(_) => true,
        Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

fn exchanged(op: &BinOp) -> Option<BinOp> {
    Some(match op {
        BinOp::Add(_) => parse_quote!(-),
        BinOp::Sub(_) => parse_quote!(+),
        BinOp::Mul(_) => parse_quote!(/),
        BinOp::Div(_) => parse_quote!(*),
        BinOp::Rem(_) => parse_quote!(/),
        BinOp::And(_) => parse_quote!(||),
        BinOp::Or(_) => parse_quote!(&&),
        BinOp::BitAnd(_) => parse_quote!(|),
        BinOp::BitOr(_) => parse_quote!(&),
        BinOp::Eq(_) => parse_quote!(!=),
        BinOp::Ne(_) => parse_quote!(==),
        BinOp::Lt(_) => parse_quote!(<=),
        BinOp::Le(_) => parse_quote!(<),
        BinOp::Gt(_) => parse_quote!(>=),
        BinOp::Ge(_) => parse_quote!(>),
        BinOp::AddAssign(_) => parse_quote!(-=),
        BinOp::SubAssign(_) => parse_quote!(+=),
        BinOp::MulAssign(_) => parse_quote!(/=),
        BinOp::DivAssign(_) => parse_quote!(*=),
        _ => return None,
    })
}

/// Values of the type that a function could return in place of its own.
fn returned(output: &ReturnType) -> Vec<Expr> {
    let ReturnType::Type(_, returned) = output else { return vec![parse_quote!(())] };
    let text = quote!(#returned).to_string().replace(' ', "");
    match text.as_str() {
        "bool" => vec![parse_quote!(true), parse_quote!(false)],
        "usize" | "u64" | "u32" => vec![parse_quote!(0), parse_quote!(1)],
        "f64" => vec![parse_quote!(0.0), parse_quote!(1.0)],
        "Result<()>" => vec![parse_quote!(Ok(()))],
        "Result<bool>" => vec![parse_quote!(Ok(true)), parse_quote!(Ok(false))],
        "Result<f64>" => vec![parse_quote!(Ok(0.0))],
        text if text.starts_with("Option<") => vec![parse_quote!(None)],
        text if text.starts_with("Vec<") => vec![parse_quote!(Vec::new())],
        _ => Vec::new(),
    }
}
