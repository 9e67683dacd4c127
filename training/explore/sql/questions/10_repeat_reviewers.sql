-- Who reviews one product again and again? Customers are counted, not named; the last row is five times or more.
WITH pairs AS (
    SELECT
        customer_id,
        coalesce(product_parent, product_id) AS product,
        count(*) AS reviews,
        avg(star_rating) AS average_stars
    FROM reviews
    WHERE customer_id IS NOT NULL AND coalesce(product_parent, product_id) IS NOT NULL
    GROUP BY customer_id, coalesce(product_parent, product_id)
)
SELECT
    least(reviews, 5) AS times,
    count(DISTINCT customer_id) AS customers,
    count(*) AS customers_and_products,
    CAST(sum(reviews) AS bigint) AS written_reviews,
    avg(average_stars) AS average_stars,
    max(reviews) AS most_reviews
FROM pairs
GROUP BY least(reviews, 5)
ORDER BY times
