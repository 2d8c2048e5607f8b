"""What is shown of a computation: its values, local derivatives and adjoints, as text, picture and page."""
