//! The fields of a serialized message, read where they lie.

/// A field is not what it should be, or does not end where it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a field is not what it should be, or does not end where it should")]
pub(crate) struct Misread;

/// The content of a field.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Four or eight bytes, little-endian.
    Fixed(&'a [u8]),
}

impl<'a> Value<'a> {
    pub(crate) fn bytes(self) -> Result<&'a [u8], Misread> {
        if let Self::Bytes(bytes) = self { Ok(bytes) } else { Err(Misread) }
    }

    pub(crate) fn number(self) -> Result<u64, Misread> {
        if let Self::Number(number) = self { Ok(number) } else { Err(Misread) }
    }

    pub(crate) fn signed(self) -> Result<i64, Misread> {
        Ok(self.number()? as i64)
    }

    /// One number of a list, or a packed list of them.
    pub(crate) fn numbers(self, mut each: impl FnMut(u64)) -> Result<(), Misread> {
        match self {
            Self::Number(number) => each(number),
            Self::Bytes(mut packed) => {
                while !packed.is_empty() {
                    each(varint(&mut packed).ok_or(Misread)?);
                }
            }
            Self::Fixed(_) => return Err(Misread),
        }
        Ok(())
    }
}

/// The fields of one serialized message, by number.
pub(crate) struct Wire<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Wire<'a> {
    type Item = Result<(u64, Value<'a>), Misread>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or(Misread))
    }
}

impl<'a> Wire<'a> {
    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let key = varint(&mut self.0)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut self.0)?),
            1 => Value::Fixed(self.take(8)?),
            2 => {
                let len = usize::try_from(varint(&mut self.0)?).ok()?;
                Value::Bytes(self.take(len)?)
            }
            5 => Value::Fixed(self.take(4)?),
            _ => return None,
        };
        Some((key >> 3, value))
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        // Of the tenth byte one bit has room.
        if shift == 63 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}
