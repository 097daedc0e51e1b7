//! What a JSON request held: values of the kinds that its [`Shape`](super::Shape) asks for, each taken out once.

use serde_json::{Map, Value};

#[cfg(doc)]
use super::Kind;
use crate::http::problem::Problem;
use crate::records::Time;
use crate::token::Secret;

/// A field that can be left out, be `null`, or have a value, where the three mean three things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given<T> {
    /// Not in the request.
    Absent,
    /// `null`.
    Null,
    /// A value.
    Value(T),
}

/// What a request held, by field; each value is taken out once.
#[derive(Debug)]
pub struct Body(pub(super) Vec<(&'static str, Datum)>);

/// The value of one field, already of its kind.
#[derive(Debug)]
pub enum Datum {
    /// `null`, where that is allowed.
    Null,
    /// Of [`Kind::Text`].
    Text(String),
    /// Of [`Kind::Secret`].
    Secret(Secret),
    /// Of [`Kind::Word`].
    Word(&'static str),
    /// Of [`Kind::Integer`].
    Integer(i64),
    /// Of [`Kind::Flag`].
    Flag(bool),
    /// Of [`Kind::End`].
    Time(Time),
    /// Of [`Kind::Object`].
    Object(Map<String, Value>),
    /// Of [`Kind::Texts`].
    Texts(Vec<String>),
    /// Of [`Kind::Secrets`].
    Secrets(Vec<Secret>),
}

impl Body {
    /// A body in which no field is.
    pub const fn empty() -> Self {
        Self(Vec::new())
    }

    /// The value of a field, if it was there and not `null`.
    pub fn take<T: Taken>(&mut self, name: &str) -> Option<T> {
        match self.given(name) {
            Given::Value(value) => Some(value),
            Given::Null | Given::Absent => None,
        }
    }

    /// The value of a field that is required.
    pub fn need<T: Taken>(&mut self, name: &'static str) -> Result<T, Problem> {
        self.take(name).ok_or_else(|| Problem::missing(name))
    }

    /// The value of a field for which `null` means something of its own.
    pub fn given<T: Taken>(&mut self, name: &str) -> Given<T> {
        let Some(at) = self.0.iter().position(|(known, _)| *known == name) else { return Given::Absent };
        match self.0.swap_remove(at).1 {
            Datum::Null => Given::Null,
            datum => T::from_datum(datum).map_or(Given::Absent, Given::Value),
        }
    }

    /// Whether no field was there at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What can be taken out of a [`Body`]. A field asked for as something it is not is absent.
pub trait Taken: Sized {
    /// The value, if it is of this type.
    fn from_datum(datum: Datum) -> Option<Self>;
}

/// The types that stand for one kind each.
macro_rules! taken {
    ($($type:ty: $variant:ident),* $(,)?) => {$(
        impl Taken for $type {
            fn from_datum(datum: Datum) -> Option<Self> {
                if let Datum::$variant(value) = datum { Some(value) } else { None }
            }
        }
    )*};
}

taken! {
    String: Text,
    Secret: Secret,
    &'static str: Word,
    i64: Integer,
    bool: Flag,
    Time: Time,
    Map<String, Value>: Object,
    Vec<String>: Texts,
    Vec<Secret>: Secrets,
}

impl Taken for u64 {
    fn from_datum(datum: Datum) -> Option<Self> {
        i64::from_datum(datum).and_then(|number| number.try_into().ok())
    }
}

impl Taken for u32 {
    fn from_datum(datum: Datum) -> Option<Self> {
        i64::from_datum(datum).and_then(|number| number.try_into().ok())
    }
}
