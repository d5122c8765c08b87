"""Load reports (LRS): what each node says is open now, by endpoint. Filled in with the wires."""
