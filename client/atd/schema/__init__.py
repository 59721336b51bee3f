"""What a sample is: field kinds, Python classes as schemas, resolution, exports.

Light on purpose: importing the package loads `atd.schema.fields` and nothing heavy. numpy enters
with `atd.schema.classes`, `atd.schema.resolve` and `atd.schema.row`, each imported by name.
"""
