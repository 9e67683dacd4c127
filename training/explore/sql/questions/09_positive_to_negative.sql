-- How many positive reviews (4 and 5 stars) are there for each negative one (1 to 3 stars)?
SELECT
    product_category,
    count(*) FILTER (WHERE star_rating >= 4) AS positive,
    count(*) FILTER (WHERE star_rating <= 3) AS negative,
    1e0 * count(*) FILTER (WHERE star_rating >= 4) / nullif(count(*) FILTER (WHERE star_rating <= 3), 0) AS ratio
FROM reviews
GROUP BY product_category
ORDER BY ratio DESC NULLS FIRST, product_category
