//! The language: text to statements.
