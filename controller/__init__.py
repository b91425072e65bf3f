"""The controller: partitioning, fringe layers, cuts, the compression loop; Accordion's training and admission."""
