-- The reviews as Parquet, a folder a category, made of the TSV. Athena writes at most 100 folders in a statement.
CREATE TABLE reviews
WITH (
    format = 'PARQUET',
    write_compression = 'ZSTD',
    partitioned_by = ARRAY['product_category'],
    external_location = 's3://BUCKET/LAKE/reviews/'
) AS
SELECT
    marketplace,
    customer_id,
    review_id,
    product_id,
    product_parent,
    product_title,
    star_rating,
    helpful_votes,
    total_votes,
    vine,
    verified_purchase,
    review_headline,
    review_body,
    review_date,
    product_category
FROM reviews_tsv
WHERE star_rating BETWEEN 1 AND 5 AND review_body IS NOT NULL
