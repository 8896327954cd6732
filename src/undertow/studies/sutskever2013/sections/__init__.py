"""The study's page, section by section: a few plain sentences, then the figure they are about."""
