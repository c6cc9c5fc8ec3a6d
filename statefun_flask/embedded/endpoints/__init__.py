"""Where functions are called: in process and over HTTP."""
