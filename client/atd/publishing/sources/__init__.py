"""From anything to samples: folders of images, tables, arrays, Python objects, packed shards.

::

    path or object ── opening ──▶ Source(schema, splits, what travels along, warnings)
                        ├── images     a folder by class        ── metadata (EXIF …)
                        ├── csv_table  rows of CSV files        ── text (what cells mean)
                        ├── parquet    rows of Parquet files    (the door of pyarrow)
                        ├── arrays     .npz, dicts of arrays
                        ├── objects    iterables of samples     ── atd.publishing.infer
                        └── packed     a folder of shards

Each module is imported by name; `atd.publishing.sources.opening.open_source` is the way in.
"""
