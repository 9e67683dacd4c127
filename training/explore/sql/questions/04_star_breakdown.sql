-- How are the stars of each category spread?
SELECT
    product_category,
    star_rating,
    count(*) AS reviews,
    1e0 * count(*) / sum(count(*)) OVER (PARTITION BY product_category) AS share
FROM reviews
GROUP BY product_category, star_rating
ORDER BY product_category, star_rating
