//! Types as written → SQL types: names made by CREATE TYPE are looked up.

use crate::error::{Error, Result};
use crate::sql::ast::TypeName;
use crate::types::{SqlType, StructField};

pub fn resolve_type(ty: &TypeName, custom: &dyn Fn(&str) -> Option<SqlType>) -> Result<SqlType> {
    Ok(match ty {
        TypeName::Sql(ty) => ty.clone(),
        TypeName::Custom(name) => custom(name).ok_or_else(|| {
            Error::statement(format!("Cannot resolve unknown type: {name}"))
                .with_hint("SHOW TYPES lists the types made by CREATE TYPE.")
        })?,
        TypeName::Array(item) => SqlType::array(resolve_type(item, custom)?),
        TypeName::Map(key, value) => SqlType::map(resolve_type(key, custom)?, resolve_type(value, custom)?),
        TypeName::Struct(fields) => {
            let mut resolved: Vec<StructField> = Vec::with_capacity(fields.len());
            for (name, ty) in fields {
                let ty = resolve_type(ty, custom)?;
                if let Some(first) = resolved.iter().find(|f| f.name == *name) {
                    return Err(duplicate_field(name, &first.ty, &ty));
                }
                resolved.push(StructField { name: name.clone(), ty });
            }
            SqlType::Struct(resolved)
        }
    })
}

/// Two fields of one name.
pub fn duplicate_field(name: &str, first: &SqlType, second: &SqlType) -> Error {
    Error::statement(format!("Duplicate field names found in STRUCT: '`{name}` {first}' and '`{name}` {second}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn custom_names_are_looked_up_at_any_depth() {
        let ty = TypeName::Array(Box::new(TypeName::Custom("ADDRESS".into())));
        let custom = |name: &str| (name == "ADDRESS").then_some(SqlType::String);
        assert_eq!(resolve_type(&ty, &custom).map_err(|e| e.to_string()), Ok(SqlType::array(SqlType::String)));
        let unknown = resolve_type(&ty, &|_| None).map_err(|e| e.to_string());
        assert_eq!(unknown, Err("Cannot resolve unknown type: ADDRESS".into()));
    }
}
