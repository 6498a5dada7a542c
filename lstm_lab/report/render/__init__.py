"""Text, figures and pages of a comparison. Read `files`, which writes all of them."""
