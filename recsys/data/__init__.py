"""Data: tables read and checked, interactions, ids, the k-core, holdouts, features, data sets."""
