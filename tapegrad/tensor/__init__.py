"""What a user holds, and how an op joins the tape."""
