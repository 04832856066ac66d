//! Columns by name and type. What a table's file says of its columns is all there is: the Parquet schema and how each column is stored
//! follow from it, and writing and reading name them.

use std::marker::PhantomData;
use std::sync::Arc;

use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::data_type::{ByteArrayType, DataType, FixedLenByteArrayType, FloatType, Int32Type, Int64Type};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnPath, TypePtr};

/// What a column holds.
pub(super) trait Holds {
    /// As Parquet stores it.
    type Stored: DataType;
    /// As a Parquet schema writes it, before the name and after it.
    const TYPE: (&'static str, &'static str);
}

/// A value of a column.
pub(super) type Value<T> = <<T as Holds>::Stored as DataType>::T;

macro_rules! holds {
    ($($(#[$doc:meta])* $name:ident: $stored:ty, $before:literal, $after:literal;)*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(super) enum $name {}

        impl Holds for $name {
            type Stored = $stored;
            const TYPE: (&'static str, &'static str) = ($before, $after);
        }
    )* };
}

holds! {
    /// UTF-8.
    Text: ByteArrayType, "binary", " (UTF8)";
    /// Bytes whose meaning the table says.
    Bytes: ByteArrayType, "binary", "";
    /// Unix milliseconds.
    Time: Int64Type, "int64", " (TIMESTAMP(MILLIS,true))";
    /// A number of 32 bits: ids, lengths, counts.
    Int32: Int32Type, "int32", "";
    /// A number of 64 bits.
    Int64: Int64Type, "int64", "";
    /// A number that need not be whole.
    Float: FloatType, "float", "";
    /// The 16 bytes of a trace id.
    Bytes16: FixedLenByteArrayType, "fixed_len_byte_array(16)", "";
    /// The 8 bytes of a span id.
    Bytes8: FixedLenByteArrayType, "fixed_len_byte_array(8)", "";
}

/// How a column is stored; zstd goes over all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// Each distinct value once.
    Dictionary,
    /// Each value as the difference to the one before: ids and times.
    Differences,
    /// As they are: what is random.
    Plain,
    /// As they are and in order, with an index of which page holds which.
    Sorted,
}

/// A column of a table. Every column is required.
pub(super) struct Column<T> {
    name: &'static str,
    coding: Coding,
    holds: PhantomData<T>,
}

impl<T> Clone for Column<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Column<T> {}

impl<T: Holds> Column<T> {
    /// By its name in the Parquet schema.
    pub(super) const fn new(name: &'static str) -> Self {
        Self { name, coding: Coding::Dictionary, holds: PhantomData }
    }

    /// Stored in another way.
    pub(super) const fn coded(self, coding: Coding) -> Self {
        Self { coding, ..self }
    }

    /// Its name.
    pub(super) const fn name(self) -> &'static str {
        self.name
    }

    /// What its table says of it.
    pub(super) const fn about(self) -> About {
        About { name: self.name, coding: self.coding, holds: T::TYPE }
    }
}

/// A column, whatever it holds.
#[derive(Debug)]
pub(super) struct About {
    pub(super) name: &'static str,
    coding: Coding,
    holds: (&'static str, &'static str),
}

/// What a table is.
#[derive(Debug)]
pub(super) struct Definition {
    /// In the catalog and in the Parquet schema.
    pub(super) name: &'static str,
    /// In their order.
    pub(super) columns: &'static [About],
    /// Rows of one page at most.
    pub(super) page_rows: usize,
}

/// Pages of tables that are read whole.
pub(super) const LARGE_PAGE: usize = 65_536;

/// Pages of tables that are searched: what is looked for is found by reading one page of each column.
pub(super) const SMALL_PAGE: usize = 4_096;

impl Definition {
    /// The Parquet schema.
    pub(super) fn schema(&self) -> TypePtr {
        let field = |About { name, holds: (before, after), .. }: &About| format!("required {before} {name}{after};");
        let fields: String = self.columns.iter().map(field).collect();
        let parsed = parse_message_type(&format!("message {} {{ {fields} }}", self.name));
        Arc::new(parsed.expect("names and types of columns are well formed"))
    }

    /// How the columns are stored.
    pub(super) fn properties(&self) -> Arc<WriterProperties> {
        let level = ZstdLevel::try_new(3).expect("zstd has a level 3");
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_created_by(concat!("tephra ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_dictionary_page_size_limit(4 << 20)
            .set_data_page_row_count_limit(self.page_rows)
            .set_write_batch_size(self.page_rows.min(SMALL_PAGE))
            .set_statistics_enabled(EnabledStatistics::Chunk);
        for About { name, coding, .. } in self.columns {
            let column = ColumnPath::from(*name);
            if *coding != Coding::Dictionary {
                properties = properties.set_column_dictionary_enabled(column.clone(), false);
            }
            properties = match coding {
                Coding::Dictionary | Coding::Plain => properties,
                Coding::Differences => properties.set_column_encoding(column, Encoding::DELTA_BINARY_PACKED),
                Coding::Sorted => properties.set_column_statistics_enabled(column, EnabledStatistics::Page),
            };
        }
        Arc::new(properties.build())
    }

    /// Where a column stands.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }
}
