"""Columns of a table as numbers or categories, for rows that have no order.

In: `RawTable`s of one form. Out: for each column an array or a list of words, and what the training
rows say about it: mean and deviation, or the categories; then the rows as sequences.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lstm_lab.tasks.readers.rows import RawTable
from lstm_lab.tasks.readers.tables import (
    TableFormat,
    is_missing,
    kind_of,
    numbers,
    standardization,
)
from lstm_lab.utils.errors import UserError

# Numbers [N] with NaN where one is missing, or words, "" where one is missing.
Column = np.ndarray | list[str]


def typed_columns(
    tables: Sequence[RawTable],
    names: Sequence[str],
    form: TableFormat,
    categorical: Container[str],
) -> list[Column]:
    """Returns the columns of several tables, one table after another.

    Args:
      tables: the tables of all splits.
      names: the columns.
      form: how they are written.
      categorical: columns whose numbers are names.

    Raises:
      UserError: for a missing column, a missing value without a policy, or numbers with a few words
        among them.
    """
    columns: list[Column] = []
    for table in tables:
        table.require(names)
    for name in names:
        values = [value for table in tables for value in table.frame[name]]
        kind = "words" if name in categorical else kind_of(values, form)
        # `numbers` names the value that makes a column of numbers a mixed one. A column without any
        # value is one of missing numbers.
        if kind == "words":
            for table in tables:
                check_words(table, name, form)
            columns.append(values)
        else:
            parts = [_numbers(table, name, form) for table in tables]
            columns.append(np.concatenate(parts))
    return columns


def _numbers(table: RawTable, name: str, form: TableFormat) -> np.ndarray:
    try:
        return numbers(table, [name], form)[:, 0]
    except UserError as error:
        hint = f"; if they are names, set task.categorical={name}"
        raise UserError(f"{error}{hint if 'expected a finite' in str(error) else ''}") from None


def check_words(table: RawTable, name: str, form: TableFormat) -> None:
    """Raises UserError for an empty value in a column of words, unless `missing` allows it."""
    values = list(table.frame[name])
    if "" in values and form.missing is None:
        line = table.frame.index[values.index("")]
        raise UserError(
            f"{table.place(line, name)} has no value; fill it, or say what to do with missing "
            "values: task.missing=drop or mask"
        )


def label_column(table: RawTable, name: str) -> list[str]:
    """Returns a column of labels.

    Args:
      table: the table.
      name: the column.

    Raises:
      UserError: for a missing column or an empty label; the message names its line.
    """
    table.require([name])
    values = list(table.frame[name])
    if "" in values:
        line = table.frame.index[values.index("")]
        raise UserError(
            f"{table.place(line)} has nothing for column {name!r}, the label; fill it, or leave "
            "such rows out with task.missing=drop"
        )
    return values


def without_missing(
    table: RawTable, names: Sequence[str], form: TableFormat, categorical: Container[str]
) -> RawTable:
    """Returns a table without the rows that miss a value in one of the columns.

    Args:
      table: the table.
      names: the columns.
      form: how they are written.
      categorical: columns whose numbers are names.

    Raises:
      UserError: if no row is left.
    """
    missing = np.zeros(len(table.frame), bool)
    for name in names:
        values = list(table.frame[name])
        # In a column of words, NA and None may be categories.
        words = name in categorical or kind_of(values, form) == "words"
        missing |= np.array([value == "" for value in values]) if words else is_missing(values)
    if missing.all():
        raise UserError(f"{table.what} has no row without missing values")
    return replace(table, frame=table.frame[~missing])


def fit_column(column: Column, train: np.ndarray) -> Any:
    """Returns what the training rows say about a column.

    Args:
      column: the column.
      train: indices of the training rows.

    Returns:
      A dict with `mean` and `std` of numbers, or the list of categories; both are valid JSON.
    """
    if not isinstance(column, np.ndarray):
        return sorted({column[k] for k in train} - {""})
    known = column[train][:, None]
    if np.isnan(known).all():
        return {"mean": 0.0, "std": 1.0}
    mean, std = standardization(known)
    return {"mean": float(mean[0]), "std": float(std[0])}


def encode_columns(
    columns: Sequence[Column], encodings: Sequence[Any], features: int, marked: bool
) -> np.ndarray:
    """Returns the rows of a table as sequences [N,T,D]: a step for each of T columns.

    The vector of a step: which column it is (T values, one-hot), its number (one value), its
    category (one-hot), and with `marked` whether the value is missing.

    Args:
      columns: the columns.
      encodings: for each column what `fit_column` returned.
      features: D.
      marked: whether the last value of a vector marks a missing value.
    """
    T = len(columns)
    x_NTD = np.zeros((len(columns[0]), T, features), np.float32)
    for k, (column, encoding) in enumerate(zip(columns, encodings, strict=True)):
        # The weights of a cell are the same at all steps, so the input itself says which column it
        # is.
        x_NTD[:, k, k] = 1.0
        if isinstance(encoding, dict):
            scaled = (np.asarray(column) - encoding["mean"]) / encoding["std"]
            missing = np.isnan(scaled)
            # A missing number is the mean, and the mark says so.
            x_NTD[:, k, T] = np.where(missing, 0.0, scaled)
        else:
            missing = np.array([value == "" for value in column])
            places = {category: T + 1 + number for number, category in enumerate(encoding)}
            # A category that training did not have stays all zeros.
            known = [(row, places[value]) for row, value in enumerate(column) if value in places]
            rows, dims = np.array(known, np.int64).reshape(-1, 2).T
            x_NTD[rows, k, dims] = 1.0
        if marked:
            x_NTD[:, k, -1] = missing
    return x_NTD


def doubtful_categories(names: Sequence[str], columns: Sequence[Column]) -> list[str]:
    """Returns a note for each column of words that has more words than rows for each.

    Args:
      names: the names of the columns.
      columns: the columns.
    """
    return [
        f"{name} has {len(set(column))} different words in {len(column)} rows; leave it out with "
        "task.columns if it is no category"
        for name, column in zip(names, columns, strict=True)
        if isinstance(column, list) and 2 * len(set(column)) > len(column)
    ]
