"""The request-reply protocols of StateFun 2.x and 3.x: requests and replies as bytes."""
