"""From anything to samples: folders of media, tables, arrays, archives, Python objects, shards.

::

    path ───── opening ── kinds ──▶ Source(schema, splits, what travels along, warnings, skipped)
    object ──────┘          │
                            ├── media_folder   files by class      ── images (metadata: EXIF …)
                            │     └ folder_table  metadata.csv …   ── sounds
                            ├── tars           WebDataset archives, as they are
                            ├── packed         a folder of shards
                            ├── csv_table      rows of CSV files   ── text (what cells mean)
                            ├── json_lines     files, stdin
                            ├── arrow_rows     rows of Arrow       ── parquet, arrow_file, hf_saved,
                            │                  (pyarrow)              frames
                            ├── arrays         .npz, .npy          ── safetensors
                            ├── mds            MosaicML's folders  ── mds_columns
                            ├── hub            hf://… (huggingface_hub), then any of these
                            ├── objects        iterables of samples ── atd.publishing.infer
                            └── torch_samples  data sets of torch

`kinds` is the table: a new kind of path is a module and a line there. Each module is imported by
name; `atd.publishing.sources.opening.open_source` is the way in.
"""
