//! Calls of scalar functions, and the lambdas among their arguments.
//!
//! The registry settles the overload from the argument types. A lambda's parameters get their types from the other
//! arguments, its body is then typed in a scope with those parameters; outer columns are captured by name.
//!
//! ```text
//! TRANSFORM(items, x => x + bonus)     items ARRAY<INTEGER>, bonus BIGINT
//!   x : INTEGER                        from the array's items
//!   x + bonus : BIGINT                 the body
//!   TRANSFORM → ARRAY<BIGINT>
//! ```

use super::coerce;
use super::expr::{Analyzer, Fault, Parameter, Typed, text};
use crate::error::{Error, Position};
use crate::functions::{self, ArgType};
use crate::plan::expr::{Expr, ExprKind, Value};
use crate::sql::ast;
use crate::types::SqlType;

/// An argument while its call is being resolved.
enum Argument {
    Typed(Expr),
    Null,
    Lambda { parameters: Vec<(String, SqlType)>, body: Expr },
    Unit(String),
}

impl Analyzer<'_> {
    pub(super) fn call(&self, name: &str, args: &[ast::Expr], position: Option<Position>) -> Typed<Expr> {
        let at = |error: Error| Fault::from(error.at_maybe(position));
        let mut types = Vec::with_capacity(args.len());
        let mut arguments = Vec::with_capacity(args.len());
        for arg in args {
            let (ty, argument) = match arg {
                ast::Expr::Lambda { parameters, .. } => {
                    (ArgType::Lambda { parameters: parameters.len(), body: None }, None)
                }
                ast::Expr::IntervalUnit(unit) => (ArgType::IntervalUnit, Some(Argument::Unit(unit.clone()))),
                other => match self.node(other)? {
                    Some(expr) => (ArgType::Sql(expr.ty.clone()), Some(Argument::Typed(expr))),
                    None => (ArgType::Null, Some(Argument::Null)),
                },
            };
            types.push(ty);
            arguments.push(argument);
        }
        for (index, arg) in args.iter().enumerate() {
            if let ast::Expr::Lambda { parameters, body } = arg {
                let parameter_types = functions::lambda_parameters(name, &types, index).map_err(at)?;
                let (parameters, body) = self
                    .lambda(parameters, &parameter_types, body, arg)
                    .map_err(|fault| Fault { error: fault.error.at_maybe(position), in_code: fault.in_code })?;
                types[index] = ArgType::Lambda { parameters: parameters.len(), body: Some(body.ty.clone()) };
                arguments[index] = Some(Argument::Lambda { parameters, body });
            }
        }
        let resolved = functions::resolve_scalar(name, &types, self.settings.strict()).map_err(at)?;
        if resolved.args.len() != args.len() {
            return Err(Error::internal(format!("{name} was resolved with another number of arguments")).into());
        }
        let args = arguments
            .into_iter()
            .flatten()
            .zip(&resolved.args)
            .map(|(argument, ty)| match argument {
                Argument::Typed(expr) => coerce::widen(expr, ty),
                Argument::Null => Expr::null(ty.clone()),
                Argument::Lambda { parameters, body } => {
                    let body = Box::new(coerce::widen(body, ty));
                    Expr { kind: ExprKind::Lambda { parameters, body }, ty: ty.clone() }
                }
                Argument::Unit(unit) => Expr::literal(Value::String(unit), SqlType::String),
            })
            .collect();
        Ok(Expr { kind: ExprKind::Call { name: name.to_uppercase(), args }, ty: resolved.returns })
    }

    /// Parameters with their types, and the body.
    fn lambda(
        &self,
        names: &[String],
        types: &[SqlType],
        body: &ast::Expr,
        whole: &ast::Expr,
    ) -> Typed<(Vec<(String, SqlType)>, Expr)> {
        if !self.settings.bool("ksql.lambdas.enabled") {
            let error = Error::statement("Lambdas are not enabled at this time.")
                .with_hint("SET 'ksql.lambdas.enabled'='true'; allows them.");
            return Err(error.into());
        }
        if names.len() != types.len() {
            let message = format!(
                "Was expecting {} arguments but found {}, [{}]. Check your lambda statement.",
                types.len(),
                names.len(),
                names.join(", ")
            );
            return Err(Error::statement(message).into());
        }
        for (i, name) in names.iter().enumerate() {
            if names[..i].contains(name) || self.parameters.iter().any(|p| p.name == *name) {
                let message = format!("Duplicate lambda arguments are not allowed: {name} in {}", text(whole));
                return Err(Error::statement(message).into());
            }
        }
        // A column of the name is hidden otherwise.
        let column = |name: &&String| self.scope.column(None, name, Position::default()).is_ok();
        if let Some(name) = names.iter().find(|name| self.settings.strict() && column(name)) {
            return Err(Error::statement(format!("Lambda function argument can't be a column name: {name}")).into());
        }
        let parameters: Vec<(String, SqlType)> = names.iter().cloned().zip(types.iter().cloned()).collect();
        let mut inner = self.clone();
        inner.parameters.extend(parameters.iter().map(|(name, ty)| Parameter { name: name.clone(), ty: ty.clone() }));
        let body = inner.typed(body)?;
        Ok((parameters, body))
    }
}
