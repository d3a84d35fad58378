"""What the guard answers over HTTP. The only asynchronous code; it decides nothing."""
