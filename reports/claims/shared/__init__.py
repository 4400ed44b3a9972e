"""What all claims share: what a claim is, and how it takes its evidence and compares arms or fits powers of n."""
