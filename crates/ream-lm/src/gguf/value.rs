//! Values of keys.

use super::read::{Cursor, Problem};

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueKind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    Str,
    Array,
    U64,
    I64,
    F64,
}

impl ValueKind {
    /// In the order of their numbers in a file.
    const ALL: [Self; 13] = [
        Self::U8,
        Self::I8,
        Self::U16,
        Self::I16,
        Self::U32,
        Self::I32,
        Self::F32,
        Self::Bool,
        Self::Str,
        Self::Array,
        Self::U64,
        Self::I64,
        Self::F64,
    ];

    pub(super) fn from_number(number: u32) -> Option<Self> {
        Self::ALL.get(number as usize).copied()
    }

    pub(super) fn number(self) -> u32 {
        self as u32
    }

    /// Bytes of a value, at least.
    pub(super) fn least_bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 | Self::Str => 8,
            Self::Array => 12,
        }
    }
}

/// The value of a key, lent by the file.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the variants are the types they hold")]
pub enum Value<'a> {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    U64(u64),
    I64(i64),
    F32(f32),
    F64(f64),
    Bool(bool),
    Str(&'a str),
    Array(Array<'a>),
}

impl<'a> Value<'a> {
    /// An integer of any type.
    #[must_use]
    pub fn integer(self) -> Option<i128> {
        Some(match self {
            Self::U8(x) => x.into(),
            Self::I8(x) => x.into(),
            Self::U16(x) => x.into(),
            Self::I16(x) => x.into(),
            Self::U32(x) => x.into(),
            Self::I32(x) => x.into(),
            Self::U64(x) => x.into(),
            Self::I64(x) => x.into(),
            _ => return None,
        })
    }

    /// A text.
    #[must_use]
    pub fn text(self) -> Option<&'a str> {
        if let Self::Str(text) = self { Some(text) } else { None }
    }

    /// The type in words, for messages.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::U8(_) => "an 8-bit unsigned integer",
            Self::I8(_) => "an 8-bit integer",
            Self::U16(_) => "a 16-bit unsigned integer",
            Self::I16(_) => "a 16-bit integer",
            Self::U32(_) => "a 32-bit unsigned integer",
            Self::I32(_) => "a 32-bit integer",
            Self::U64(_) => "a 64-bit unsigned integer",
            Self::I64(_) => "a 64-bit integer",
            Self::F32(_) => "a 32-bit number",
            Self::F64(_) => "a 64-bit number",
            Self::Bool(_) => "a boolean",
            Self::Str(_) => "a string",
            Self::Array(_) => "an array",
        }
    }

    pub(super) fn kind(&self) -> ValueKind {
        match self {
            Self::U8(_) => ValueKind::U8,
            Self::I8(_) => ValueKind::I8,
            Self::U16(_) => ValueKind::U16,
            Self::I16(_) => ValueKind::I16,
            Self::U32(_) => ValueKind::U32,
            Self::I32(_) => ValueKind::I32,
            Self::U64(_) => ValueKind::U64,
            Self::I64(_) => ValueKind::I64,
            Self::F32(_) => ValueKind::F32,
            Self::F64(_) => ValueKind::F64,
            Self::Bool(_) => ValueKind::Bool,
            Self::Str(_) => ValueKind::Str,
            Self::Array(_) => ValueKind::Array,
        }
    }

    /// Appends the value as it stands in a file, without its type.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::U8(x) => out.push(*x),
            Self::I8(x) => out.extend(x.to_le_bytes()),
            Self::U16(x) => out.extend(x.to_le_bytes()),
            Self::I16(x) => out.extend(x.to_le_bytes()),
            Self::U32(x) => out.extend(x.to_le_bytes()),
            Self::I32(x) => out.extend(x.to_le_bytes()),
            Self::U64(x) => out.extend(x.to_le_bytes()),
            Self::I64(x) => out.extend(x.to_le_bytes()),
            Self::F32(x) => out.extend(x.to_le_bytes()),
            Self::F64(x) => out.extend(x.to_le_bytes()),
            Self::Bool(x) => out.push(u8::from(*x)),
            Self::Str(x) => {
                out.extend((x.len() as u64).to_le_bytes());
                out.extend(x.as_bytes());
            }
            Self::Array(x) => {
                out.extend(x.kind.number().to_le_bytes());
                out.extend((x.length as u64).to_le_bytes());
                out.extend(x.bytes);
            }
        }
    }

    pub(super) fn read(kind: ValueKind, cursor: &mut Cursor<'a>) -> Result<Self, Problem> {
        Ok(match kind {
            ValueKind::U8 => Self::U8(u8::from_le_bytes(cursor.array()?)),
            ValueKind::I8 => Self::I8(i8::from_le_bytes(cursor.array()?)),
            ValueKind::U16 => Self::U16(u16::from_le_bytes(cursor.array()?)),
            ValueKind::I16 => Self::I16(i16::from_le_bytes(cursor.array()?)),
            ValueKind::U32 => Self::U32(cursor.u32()?),
            ValueKind::I32 => Self::I32(i32::from_le_bytes(cursor.array()?)),
            ValueKind::U64 => Self::U64(cursor.u64()?),
            ValueKind::I64 => Self::I64(i64::from_le_bytes(cursor.array()?)),
            ValueKind::F32 => Self::F32(f32::from_le_bytes(cursor.array()?)),
            ValueKind::F64 => Self::F64(f64::from_le_bytes(cursor.array()?)),
            ValueKind::Bool => match cursor.array::<1>()? {
                [0] => Self::Bool(false),
                [1] => Self::Bool(true),
                [other] => return Err(cursor.problem(format!("a boolean is {other}, wanted 0 or 1"))),
            },
            ValueKind::Str => Self::Str(cursor.string()?),
            ValueKind::Array => Self::Array(Array::read(cursor)?),
        })
    }
}

/// An array of values of one type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Array<'a> {
    kind: ValueKind,
    length: usize,
    bytes: &'a [u8],
}

impl<'a> Array<'a> {
    /// Elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The elements in their order.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let (mut cursor, kind) = (Cursor::new(self.bytes), self.kind);
        // Every element was read once when the file was opened.
        (0..self.length).map_while(move |_| Value::read(kind, &mut cursor).ok())
    }

    /// Reads to the end of the array, so that whatever is wrong inside is found now.
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, Problem> {
        let number = cursor.u32()?;
        let kind = match ValueKind::from_number(number) {
            Some(ValueKind::Array) => {
                return Err(cursor.problem("an array of arrays is not read here".to_owned()));
            }
            Some(kind) => kind,
            None => return Err(cursor.problem(format!("elements of type {number}, wanted 0 to 12"))),
        };
        let length = cursor.count(kind.least_bytes(), "elements of an array")?;
        let rest = cursor.rest();
        let start = cursor.at();
        match kind {
            ValueKind::Str | ValueKind::Bool => {
                for _ in 0..length {
                    Value::read(kind, cursor)?;
                }
            }
            // Any bytes are numbers.
            _ => {
                cursor.take(length * kind.least_bytes())?;
            }
        }
        Ok(Self { kind, length, bytes: &rest[..cursor.at() - start] })
    }
}
