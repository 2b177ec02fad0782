"""AMD's certificates, as published: for each product line the root, the signer of chips and the signer of loads."""
