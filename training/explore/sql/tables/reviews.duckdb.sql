-- The reviews as Parquet, a folder a category, as ingest wrote them. A category is text, even one that is called 2015.
CREATE VIEW reviews AS
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
    product_category,
    source,
    "row"
FROM read_parquet('LAKE/reviews/*/*.parquet', hive_partitioning = true, hive_types_autocast = false)
