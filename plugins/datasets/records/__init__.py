"""Sets that hold many pieces a file: lines of tokens or JSON; what they share stands in lines.py."""
