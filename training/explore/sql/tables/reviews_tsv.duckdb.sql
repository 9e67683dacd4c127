-- The TSV files as they lie in the lake. They know no quotes: a lone " is text. A cell that is empty, missing, or no
-- number or date is null, and cells too many are nothing. A row whose text is asked for and is no UTF-8 is left out.
-- Numbers are text first, and nullif stands in between: ignore_errors drops a row of which the reader cannot cast a cell.
CREATE VIEW reviews_tsv AS
SELECT
    marketplace,
    customer_id,
    review_id,
    product_id,
    product_parent,
    product_title,
    product_category,
    TRY_CAST(nullif(star_rating, '') AS tinyint) AS star_rating,
    TRY_CAST(nullif(helpful_votes, '') AS int) AS helpful_votes,
    TRY_CAST(nullif(total_votes, '') AS int) AS total_votes,
    vine,
    verified_purchase,
    review_headline,
    review_body,
    TRY_CAST(nullif(review_date, '') AS date) AS review_date
FROM read_csv(
    'LAKE/reviews_tsv/*',
    header = true, auto_detect = false, delim = '\t', quote = '', escape = '', max_line_size = 16777216,
    null_padding = true, strict_mode = false, ignore_errors = true,
    columns = {
        'marketplace': 'varchar',
        'customer_id': 'varchar',
        'review_id': 'varchar',
        'product_id': 'varchar',
        'product_parent': 'varchar',
        'product_title': 'varchar',
        'product_category': 'varchar',
        'star_rating': 'varchar',
        'helpful_votes': 'varchar',
        'total_votes': 'varchar',
        'vine': 'varchar',
        'verified_purchase': 'varchar',
        'review_headline': 'varchar',
        'review_body': 'varchar',
        'review_date': 'varchar'
    }
)
