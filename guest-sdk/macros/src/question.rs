//! `?` in a function that returns a `Verdict`.

use syn::visit_mut::{self, VisitMut};
use syn::{Expr, ExprAsync, ExprClosure, Item, parse_quote_spanned};

/// Rewrites `?` so that an error becomes the verdict. Closures, blocks of their own and inner items keep theirs.
pub(crate) struct Question;

impl VisitMut for Question {
    fn visit_expr_mut(&mut self, expression: &mut Expr) {
        visit_mut::visit_expr_mut(self, expression);
        if let Expr::Try(question) = expression {
            let inner = &question.expr;
            let span = question.question_token.span;
            *expression = parse_quote_spanned! {span=>
                match #inner {
                    ::core::result::Result::Ok(value) => value,
                    ::core::result::Result::Err(error) => {
                        return ::tidegate_guest::__private::failed(error);
                    }
                }
            };
        }
    }

    fn visit_expr_closure_mut(&mut self, _: &mut ExprClosure) {}

    fn visit_expr_async_mut(&mut self, _: &mut ExprAsync) {}

    fn visit_item_mut(&mut self, _: &mut Item) {}
}
