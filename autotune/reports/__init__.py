"""What was found, for people: in words, tables and pictures.

Goes in: records. Comes out: text, HTML, markdown, pictures; nothing is measured or decided here.
"""
