//! `ExportProfilesServiceRequest` as JSON has it (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>): ids of traces and
//! spans are hexadecimal.

use crate::http::doors::json::{Holds, Shape, many, one};

pub(super) const REQUEST: Shape = Shape {
    fields: &[
        many(1, "resourceProfiles", Holds::Message(&RESOURCE_PROFILES)),
        one(2, "dictionary", Holds::Message(&DICTIONARY)),
    ],
};

const RESOURCE_PROFILES: Shape = Shape {
    fields: &[one(1, "resource", Holds::Message(&RESOURCE)), many(2, "scopeProfiles", Holds::Message(&SCOPE_PROFILES))],
};

const RESOURCE: Shape = Shape { fields: &[many(1, "attributes", Holds::Message(&ATTRIBUTE))] };

const ATTRIBUTE: Shape = Shape {
    fields: &[one(1, "key", Holds::Text), one(2, "value", Holds::Message(&ANY)), one(3, "keyStrindex", Holds::Int32)],
};

const ANY: Shape = Shape {
    fields: &[
        one(1, "stringValue", Holds::Text),
        one(2, "boolValue", Holds::Bool),
        one(3, "intValue", Holds::Int64),
        one(4, "doubleValue", Holds::Double),
        one(8, "stringValueStrindex", Holds::Int32),
    ],
};

const SCOPE_PROFILES: Shape = Shape { fields: &[many(2, "profiles", Holds::Message(&PROFILE))] };

const PROFILE: Shape = Shape {
    fields: &[
        one(1, "sampleType", Holds::Message(&VALUE_TYPE)),
        many(2, "samples", Holds::Message(&SAMPLE)),
        one(3, "timeUnixNano", Holds::Fixed64),
        one(4, "durationNano", Holds::Int64),
        one(5, "periodType", Holds::Message(&VALUE_TYPE)),
        one(6, "period", Holds::Int64),
        many(11, "attributeIndices", Holds::Int32),
        // As it was called before 1.10.
        many(2, "sample", Holds::Message(&SAMPLE)),
    ],
};

const VALUE_TYPE: Shape =
    Shape { fields: &[one(1, "typeStrindex", Holds::Int32), one(2, "unitStrindex", Holds::Int32)] };

const SAMPLE: Shape = Shape {
    fields: &[
        one(1, "stackIndex", Holds::Int32),
        many(2, "attributeIndices", Holds::Int32),
        one(3, "linkIndex", Holds::Int32),
        many(4, "values", Holds::Int64),
        many(5, "timestampsUnixNano", Holds::Fixed64),
    ],
};

const DICTIONARY: Shape = Shape {
    fields: &[
        many(1, "mappingTable", Holds::Message(&MAPPING)),
        many(2, "locationTable", Holds::Message(&LOCATION)),
        many(3, "functionTable", Holds::Message(&FUNCTION)),
        many(4, "linkTable", Holds::Message(&LINK)),
        many(5, "stringTable", Holds::Text),
        many(6, "attributeTable", Holds::Message(&KEY_VALUE_UNIT)),
        many(7, "stackTable", Holds::Message(&STACK)),
    ],
};

const MAPPING: Shape = Shape {
    fields: &[
        one(1, "memoryStart", Holds::Int64),
        one(2, "memoryLimit", Holds::Int64),
        one(3, "fileOffset", Holds::Int64),
        one(4, "filenameStrindex", Holds::Int32),
        many(5, "attributeIndices", Holds::Int32),
    ],
};

const LOCATION: Shape = Shape {
    fields: &[
        one(1, "mappingIndex", Holds::Int32),
        one(2, "address", Holds::Int64),
        many(3, "lines", Holds::Message(&LINE)),
        // As it was called before 1.10.
        many(3, "line", Holds::Message(&LINE)),
    ],
};

const LINE: Shape = Shape { fields: &[one(1, "functionIndex", Holds::Int32), one(2, "line", Holds::Int64)] };

const FUNCTION: Shape = Shape {
    fields: &[
        one(1, "nameStrindex", Holds::Int32),
        one(2, "systemNameStrindex", Holds::Int32),
        one(3, "filenameStrindex", Holds::Int32),
    ],
};

const LINK: Shape = Shape { fields: &[one(1, "traceId", Holds::Hex), one(2, "spanId", Holds::Hex)] };

const KEY_VALUE_UNIT: Shape = Shape {
    fields: &[
        one(1, "keyStrindex", Holds::Int32),
        one(2, "value", Holds::Message(&ANY)),
        one(3, "unitStrindex", Holds::Int32),
    ],
};

const STACK: Shape = Shape { fields: &[many(1, "locationIndices", Holds::Int32)] };
