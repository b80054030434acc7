-- The catalogue, schema version 1.
--
-- One text for SQLite and PostgreSQL. Three words differ and are replaced when it is applied:
--   ROW_ID  INTEGER on SQLite (the table's own row number), BIGINT on PostgreSQL
--   BYTES   BLOB, BYTEA
--   NAME    TEXT; on PostgreSQL with the byte order that SQLite has anyway (COLLATE "C"), so that pages come in the same order
--
-- A paper's row carries all that a page shows of it (`record`, `edition`, `sources` as JSON), so a page of a list is one
-- read. What is searched or sorted by has columns or tables of its own, derived from the JSON by the program in the same
-- transaction. Sort columns are never NULL and larger comes first.
--
-- Where later tables will attach: accounts stand alone; votes and comments refer to papers(id), and papers.popularity
-- and papers.hot take their sums at write; an account that is an author refers to authors(handle); digests refer to
-- accounts and remember papers.change.

CREATE TABLE papers (
    id ROW_ID PRIMARY KEY,
    handle NAME NOT NULL,
    -- merging: arXiv number, else `titles`
    arxiv NAME,
    record TEXT NOT NULL,
    -- facts of the edition, and the short name it has there
    edition TEXT,
    slug NAME,
    family NAME,
    sources TEXT NOT NULL,
    -- hash of what is embedded: title and abstract
    text_hash TEXT NOT NULL,
    -- seconds since 1970
    added BIGINT NOT NULL,
    -- number of the last write that changed the row: strictly increasing in the order of commits
    change BIGINT NOT NULL,
    -- yyyymmdd with zeros for what is unknown
    date_key BIGINT NOT NULL,
    -- Monday of the week (yyyymmdd), month (yyyymm), year; 0 where unknown
    week BIGINT NOT NULL,
    month BIGINT NOT NULL,
    year BIGINT NOT NULL,
    -- votes and comments
    popularity BIGINT NOT NULL,
    hot DOUBLE PRECISION NOT NULL,
    verified DOUBLE PRECISION NOT NULL,
    cheapest DOUBLE PRECISION NOT NULL,
    surprise DOUBLE PRECISION NOT NULL,
    -- 1000000000 where it runs, plus date_key
    runs_key BIGINT NOT NULL
);
CREATE UNIQUE INDEX papers_handle ON papers (handle);
CREATE UNIQUE INDEX papers_arxiv ON papers (arxiv);
CREATE UNIQUE INDEX papers_slug ON papers (slug);
CREATE UNIQUE INDEX papers_change ON papers (change);
CREATE INDEX papers_family ON papers (family, id);
-- one for each order of the feed
CREATE INDEX papers_newest ON papers (date_key, id);
CREATE INDEX papers_hot ON papers (hot, id);
CREATE INDEX papers_top_day ON papers (date_key, popularity, id);
CREATE INDEX papers_top_week ON papers (week, popularity, id);
CREATE INDEX papers_top_month ON papers (month, popularity, id);
CREATE INDEX papers_top_year ON papers (year, popularity, id);
CREATE INDEX papers_verified ON papers (verified, id);
CREATE INDEX papers_cheapest ON papers (cheapest, id);
CREATE INDEX papers_surprise ON papers (surprise, id);
CREATE INDEX papers_runs_first ON papers (runs_key, id);

-- hash of a normalised title, to the first paper that had it
CREATE TABLE titles (
    title_hash NAME PRIMARY KEY,
    paper BIGINT NOT NULL REFERENCES papers (id)
);

-- handles that a paper once had
CREATE TABLE aliases (
    handle NAME PRIMARY KEY,
    paper BIGINT NOT NULL REFERENCES papers (id)
);

CREATE TABLE authors (
    handle NAME PRIMARY KEY,
    name NAME NOT NULL,
    papers BIGINT NOT NULL
);
CREATE INDEX authors_papers ON authors (papers DESC, handle);
CREATE TABLE paper_authors (
    author NAME NOT NULL REFERENCES authors (handle),
    paper BIGINT NOT NULL REFERENCES papers (id),
    PRIMARY KEY (author, paper)
);
CREATE INDEX paper_authors_paper ON paper_authors (paper);

CREATE TABLE organisations (
    handle NAME PRIMARY KEY,
    name NAME NOT NULL,
    papers BIGINT NOT NULL
);
CREATE INDEX organisations_papers ON organisations (papers DESC, handle);
CREATE TABLE paper_organisations (
    organisation NAME NOT NULL REFERENCES organisations (handle),
    paper BIGINT NOT NULL REFERENCES papers (id),
    PRIMARY KEY (organisation, paper)
);
CREATE INDEX paper_organisations_paper ON paper_organisations (paper);

CREATE TABLE topics (
    handle NAME PRIMARY KEY,
    name NAME NOT NULL,
    papers BIGINT NOT NULL
);
CREATE INDEX topics_papers ON topics (papers DESC, handle);
CREATE TABLE paper_topics (
    topic NAME NOT NULL REFERENCES topics (handle),
    paper BIGINT NOT NULL REFERENCES papers (id),
    PRIMARY KEY (topic, paper)
);
CREATE INDEX paper_topics_paper ON paper_topics (paper);

-- how many papers: kind `all` at 0, kind `day` at each date_key
CREATE TABLE tallies (
    kind NAME NOT NULL,
    place BIGINT NOT NULL,
    papers BIGINT NOT NULL,
    PRIMARY KEY (kind, place)
);

-- claims of the edition and what became of them
CREATE TABLE claims (
    paper BIGINT NOT NULL REFERENCES papers (id),
    claim NAME NOT NULL,
    kind TEXT NOT NULL,
    verdict NAME NOT NULL,
    PRIMARY KEY (paper, claim)
);
CREATE INDEX claims_verdict ON claims (verdict);

-- runs as the site lists them; the run's folder is what counts
CREATE TABLE runs (
    id NAME PRIMARY KEY,
    slug NAME NOT NULL,
    preset TEXT NOT NULL,
    state TEXT NOT NULL,
    -- seconds since 1970
    created BIGINT NOT NULL,
    -- negative where unknown
    seconds DOUBLE PRECISION NOT NULL,
    -- 1 where it may bear verdicts
    evidence BIGINT NOT NULL
);
CREATE INDEX runs_created ON runs (created, id);
CREATE INDEX runs_slug ON runs (slug, created, id);

-- sentence embeddings: 8-bit integers times `scale`
CREATE TABLE vectors (
    embedder NAME NOT NULL,
    paper BIGINT NOT NULL REFERENCES papers (id),
    text_hash TEXT NOT NULL,
    scale DOUBLE PRECISION NOT NULL,
    components BYTES NOT NULL,
    PRIMARY KEY (embedder, paper)
);
