-- Which products have the most helpful reviews, and how long are these, beside all reviews that got a helpful vote?
WITH helpful AS (
    SELECT
        coalesce(product_parent, product_id) AS product,
        product_title,
        product_category,
        helpful_votes,
        length(review_body) - length(replace(review_body, ' ', '')) + 1 AS words
    FROM reviews
    WHERE helpful_votes > 0
)
SELECT
    product,
    max(product_title) AS product_title,
    max(product_category) AS product_category,
    count(*) AS helpful_reviews,
    CAST(sum(helpful_votes) AS bigint) AS helpful_votes,
    avg(words) AS average_words,
    (SELECT avg(words) FROM helpful) AS average_words_of_all
FROM helpful
WHERE product IS NOT NULL
GROUP BY product
ORDER BY helpful_votes DESC, product
LIMIT 10
