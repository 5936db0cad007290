"""The API as data: requests, answers, decoding. No I/O, no clock."""
