"""From anything to samples: folders of media, tables, arrays, archives, Python objects, shards.

::

    path ───── opening ── kinds ──▶ Source(schema, splits, what travels along, warnings, skipped)
    object ──────┘          │
                            ├── media_folder   files by class      ── images (metadata: EXIF …)
                            │     └ folder_table  metadata.csv …   ── sounds
                            ├── tars           WebDataset archives, as they are
                            ├── packed         a folder of shards
                            ├── csv_table      rows of CSV files   ── csv_lines, text (cells)
                            ├── json_lines     files, stdin
                            ├── arrow_tables   rows of Arrow       ── parquet, arrow_file, hf_saved,
                            │     ├ arrow_rows, arrow_survey          frames
                            │     └ arrow_types  (pyarrow)
                            ├── arrays         .npz, .npy          ── safetensors
                            ├── mds            MosaicML's folders  ── mds_columns
                            ├── hub            hf://… (huggingface_hub), then any of these
                            ├── objects        iterables of samples ── atd.publishing.infer
                            └── torch_samples  data sets of torch

    what cannot be published ── bad (a line for each) ◀── tables (files, lines, rows)
                                                      ◀── fitting (samples, for any source)

`kinds` is the table: a new kind of path is a module and a line there. Each module is imported by
name; `atd.publishing.sources.opening.open_source` is the way in.
"""
