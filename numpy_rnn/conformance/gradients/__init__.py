"""Check the gradients of any recurrent code against its own loss."""
